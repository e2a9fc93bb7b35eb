"""Images as uint8 tensors: splits on disk, their moments, and sheets of images as PNG."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.files import whole_file
from diffusion.mapping import blocks_of, rows_of
from diffusion.tensors import load_tensors, save_tensors

GREY = 128


@dataclass(frozen=True)
class Dataset:
    """Images (N, C, H, W) uint8 with labels (N,) int64, which are indices of `class_names`."""

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return len(self.class_names)

    def take(self, indices: Tensor | slice) -> "Dataset":
        """The images at `indices`, in that order."""
        images = rows_of(self.images, indices) if isinstance(indices, Tensor) else self.images[indices]
        return Dataset(images, self.labels[indices], self.class_names)


def classes_in_turn(number: int, num_classes: int) -> Tensor:
    """The labels 0, 1, ..., K - 1, 0, 1, ... int64 (number,): image k has class k mod K."""
    return torch.arange(number) % num_classes


def classes_by_share(number: int, counts: Tensor) -> Tensor:
    """Labels int64 (number,) by the shares of classes that have these counts (K,): every class once, then each time the
    one that lacks most of its share. Of equal shares, `classes_in_turn`."""
    due = counts.double() / counts.sum()
    given = torch.zeros_like(due)
    labels = classes_in_turn(number, len(counts))
    for k in range(number):
        if k >= len(counts):
            labels[k] = (due * (k + 1) - given).mul(1e6).round().argmax()  # of equal ones, the first
        given[labels[k]] += 1
    return labels


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 to float32 in [-1, 1]; images that are float already keep their values."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()


def to_uint8(images: Tensor) -> Tensor:
    """Float (N, ...) in [-1, 1] to uint8, clipped and rounded: the inverse of `to_float` for all 256 values.

    Raises ValueError for values that are not finite: some of them would become black and others white.
    """
    bad = int((~images.isfinite()).reshape(len(images), -1).any(1).sum())
    if bad:
        raise ValueError(f"images: {bad} of {len(images)} hold NaN or infinity (allowed: finite values)")
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def gather(batches: Iterable[Tensor]) -> Tensor:
    """Join batches of finished images, float in [-1, 1], into one uint8 tensor (N, C, H, W) on the CPU."""
    return torch.cat([to_uint8(batch).cpu() for batch in batches])


def moments(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of all pixels of uint8 images, on the scale of [-1, 1], exact up to rounding."""
    of_blocks = [block.flatten().bincount(minlength=256) for block in blocks_of(images)]
    counts = torch.stack(of_blocks).sum(0).double()
    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    return mean.item(), variance.sqrt().item()


def examples(dataset: Dataset, per_class: int) -> Tensor:
    """The first `per_class` images of every class, class by class, with grey tiles where a class has fewer."""
    _, *shape = dataset.images.shape
    tiles = torch.full((len(dataset.class_names), per_class, *shape), GREY, dtype=torch.uint8)
    for label, row in enumerate(tiles):
        found = dataset.images[(dataset.labels == label).nonzero().flatten()[:per_class]]
        row[: len(found)] = found
    return tiles.flatten(0, 1)


def save_split(path: Path, split: Dataset, description: dict[str, Any]) -> None:
    """Write a split as safetensors, with `description` and the class names in its metadata."""
    description = {**description, "class_names": list(split.class_names)}
    save_tensors(path, {"images": split.images, "labels": split.labels}, description)


def load_split(path: Path) -> Dataset:
    """Read what `save_split` wrote. Raises ValueError, one line, for a file that is missing, damaged or foreign."""
    tensors, description = load_tensors(path)
    images, labels = tensors.get("images"), tensors.get("labels")
    names = description.get("class_names") if isinstance(description, dict) else None
    if images is None or labels is None or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{path}: not a data split of this project (expected images, labels and class_names)")
    if images.dtype != torch.uint8 or images.ndim != 4 or labels.dtype != torch.int64 or images.numel() == 0:
        raise ValueError(f"{path}: not a data split (expected uint8 images (N, C, H, W) and int64 labels (N,))")
    if labels.shape != images.shape[:1] or labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(f"{path}: the labels do not match the {len(images)} images and {len(names)} classes")
    return Dataset(images, labels, tuple(names))


def load_both(folder: Path) -> tuple[Dataset, Dataset]:
    """The splits train and test in a folder. Raises ValueError if one is damaged or they do not belong together."""
    train, test = (load_split(folder / f"{name}.safetensors") for name in ("train", "test"))
    if train.images.shape[1:] != test.images.shape[1:] or train.class_names != test.class_names:
        raise ValueError(
            f"{folder / 'test.safetensors'}: other image shapes or classes than train.safetensors beside it"
        )
    return train, test


def save_sheet(path: Path, images: Tensor, columns: int, scale: int = 2, gap: int = 2) -> None:
    """Write uint8 images (N, C, H, W), grey or RGB, as one bare PNG: row by row, `gap` grey pixels between tiles."""
    from PIL import Image

    assert images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] in (1, 3)
    tiles = images.cpu().repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    number, channels, height, width = tiles.shape
    columns = min(columns, number)
    rows = -(-number // columns)
    sheet = torch.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), GREY, dtype=torch.uint8)
    for k, tile in enumerate(tiles):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile.permute(1, 2, 0)
    with whole_file(path) as partial:
        Image.fromarray(sheet.squeeze(2).numpy()).save(partial, format="PNG")
