"""Stage `prepare`: read the data set, split it, and write its card."""

from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from diffusion.data import Dataset, examples, moments, save_sheet, save_split
from diffusion.mapping import blocks_of
from diffusion.randomness import generator_for
from diffusion.sources.splits import Splits, load_splits
from stages.params.data_rules import misfits_of_chapters, refuse_misfit
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.outputs import write_json, write_table
from stages.shared.sheets import per_class

EXAMPLE_PIXELS = 56


def main(params: Params, *, out: Path, results: Path) -> None:
    """Write both splits (--out) and the data card (--results)."""
    data = params.data
    splits = load_splits(
        data.dataset,
        Path(data.root),
        generator_for(params.seed, "split"),
        data.image_size,
        data.channels,
        data.train_limit,
        data.test_limit,
        partial(tqdm, desc="images", unit="img"),
    )
    refuse_misfit(params, splits.train, splits.test)
    for misfit in misfits_of_chapters(Path(), splits.train, splits.test):
        print(f"a chapter that cannot run like this: {misfit}")
    if splits.skipped:
        print(
            f"data.root: {splits.skipped} files are no part of the data: hidden, a system's own, or beside the classes"
        )
    save_split(out / "train.safetensors", splits.train, {"dataset": data.dataset})
    save_split(out / "test.safetensors", splits.test, {"dataset": data.dataset})
    shown_of_each = per_class(splits.train.num_classes)
    tiles = examples(splits.train, shown_of_each)
    scale = max(1, round(EXAMPLE_PIXELS / tiles.shape[-1]))
    save_sheet(results / "examples.png", tiles, shown_of_each, scale)
    write_json(results / "card.json", card(data.dataset, splits))
    names = splits.train.class_names
    counts = (part.labels.bincount(minlength=len(names)).tolist() for part in (splits.train, splits.test))
    write_table(results / "counts.csv", ["class", "train", "test"], zip(names, *counts, strict=True))


def card(dataset: str, splits: Splits) -> dict[str, object]:
    """What the data are: source, checksum, shape, the pixels' mean and spread in [-1, 1]; if there are any, files left
    out and test images that are training images too."""
    found = {"skipped": splits.skipped, "duplicates": duplicates(splits.train.images, splits.test.images)}
    return {
        "dataset": dataset,
        "source": splits.origin,
        "license": splits.license,
        "checksum": splits.checksum,
        "image_shape": list(splits.train.images.shape[1:]),
        "splits": {"train": _figures(splits.train), "test": _figures(splits.test)},
        **{name: number for name, number in found.items() if number},
    }


def duplicates(train: Tensor, test: Tensor) -> int:
    """The number of test images that are also training images, pixel for pixel."""
    tested = [*_digests(test)]
    known = set(tested).intersection(_digests(train))
    return sum(digest in known for digest in tested)


def _digests(images: Tensor) -> Iterator[bytes]:
    return (blake2b(image.numpy().data, digest_size=16).digest() for block in blocks_of(images) for image in block)


def _figures(part: Dataset) -> dict[str, float]:
    mean, std = moments(part.images)
    return {"n": len(part.images), "mean": round(mean, 6), "std": round(std, 6)}


if __name__ == "__main__":
    run(main)
