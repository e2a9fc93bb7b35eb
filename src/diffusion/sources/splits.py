"""A data set by its name, as a stratified split.

Every split is in an order of which each prefix is stratified, so a limit is a prefix: a smaller training set is part of
a larger one, and the test set does not depend on the limit of the training set.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset
from diffusion.mapping import blocks_of
from diffusion.sources.contents import Watch
from diffusion.sources.table import DATASETS

TEST_SHARE = 0.2  # of the sources that have no test split of their own


@dataclass(frozen=True)
class Splits:
    """What `load_splits` returns; `checksum` is the SHA-256 of all images and labels of the source as read, `skipped`
    the number of files in a folder of images that are hidden, a system's own, beside the class folders, or in a
    validation split beside a test split."""

    train: Dataset
    test: Dataset
    origin: str
    license: str
    checksum: str
    skipped: int


def load_splits(
    name: str,
    root: Path,
    generator: torch.Generator,
    image_size: int = 28,
    channels: int = 1,
    train_limit: int = 0,
    test_limit: int = 0,
    watch: Watch = iter,
) -> Splits:
    """Read a data set of `DATASETS` and split it, stratified; a limit of 0 takes all.

    `root` matters for what is read from files; `image_size`, `channels` and `watch`, through which the image files go,
    matter for `folder` alone, since the others have a size of their own. Memory never holds more than two copies of the
    images. Raises ValueError, one line, for an unknown name, for files that are missing, damaged, foreign or too large,
    for a download that fails, and for a limit that cannot hold every class.
    """
    if name not in DATASETS:
        raise ValueError(f"data.dataset: unknown {name!r} (allowed: {', '.join(DATASETS)})")
    source = DATASETS[name]
    parts, skipped = source.read(root, image_size, channels, watch)
    checksum = _checksum(parts)
    if len(parts) == 1:
        parts = _split(parts.pop(), generator)
    return Splits(
        _limited(parts[0], train_limit, "data.train_limit", generator),
        _limited(parts[1], test_limit, "data.test_limit", generator),
        source.origin,
        source.license,
        checksum,
        skipped,
    )


def stratified(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of which every prefix has the classes by their shares, and each class before any repeats."""
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    place_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[(place_in_class.double() / counts[labels[by_class]]).argsort(stable=True)]


def _split(pool: Dataset, generator: torch.Generator) -> list[Dataset]:
    order = stratified(pool.labels, generator)
    num_test = max(round(TEST_SHARE * len(order)), len(pool.class_names))
    return [pool.take(order[num_test:]), pool.take(order[:num_test])]


def _limited(part: Dataset, limit: int, key: str, generator: torch.Generator) -> Dataset:
    order = stratified(part.labels, generator)
    if 0 < limit < len(part.class_names):
        raise ValueError(f"{key}: {limit} is too small for {len(part.class_names)} classes (allowed: 0, or one each)")
    return part.take(order[: limit or len(order)])


def _checksum(parts: list[Dataset]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for block in blocks_of(part.images):
            digest.update(block.numpy().data)
        digest.update(part.labels.numpy().data)
    return digest.hexdigest()
