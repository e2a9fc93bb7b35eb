"""Stage `prepare`: read the data set, split it, and write its card."""

import os
from functools import partial
from pathlib import Path

from tqdm import tqdm

from diffusion.data import Dataset, examples, moments, save_sheet, save_split
from diffusion.randomness import generator_for
from diffusion.sources import Splits, load_splits
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
        Path(os.environ.get("DVC_ROOT", "."), data.root),  # an experiment in a copy finds the data of the original
        generator_for(params.seed, "split"),
        data.image_size,
        data.channels,
        data.train_limit,
        data.test_limit,
        partial(tqdm, desc="images", unit="img"),
    )
    if splits.test.labels.bincount().max() < 2:
        allowed = "a class with 2 or more; data.test_limit or data.root leave too few"
        raise ValueError(f"data: no class has two test images, whose distance is diversity (allowed: {allowed})")
    if splits.skipped:
        print(f"data.root: {splits.skipped} files are hidden or beside the class folders, and no part of the data")
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
    """What the data are: source, checksum, shape, the pixels' mean and spread in [-1, 1], and files left out if any."""
    return {
        "dataset": dataset,
        "source": splits.origin,
        "license": splits.license,
        "checksum": splits.checksum,
        "image_shape": list(splits.train.images.shape[1:]),
        "splits": {"train": _figures(splits.train), "test": _figures(splits.test)},
        **({"skipped": splits.skipped} if splits.skipped else {}),
    }


def _figures(part: Dataset) -> dict[str, float]:
    mean, std = moments(part.images)
    return {"n": len(part.images), "mean": round(mean, 6), "std": round(std, 6)}


if __name__ == "__main__":
    run(main)
