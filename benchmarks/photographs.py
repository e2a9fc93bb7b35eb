"""`make photographs`: how many photographs of mixed sizes `prepare` reads in a second. Prints a table.

The photographs are random JPEGs in a temporary folder, with the blur and the grain of real ones, since noise alone
would be slower to decode. They are read once before anything is measured, so that the disk does not matter.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from diffusion.randomness import generator_for
from diffusion.sources.splits import load_splits

CLASSES = ("cat", "dog")
LONG_EDGE = (300, 4000)  # pixels, drawn evenly on a logarithmic scale
ASPECTS = (1.0, 4 / 3, 3 / 2, 16 / 9)
QUALITIES = (75, 85, 95)
GRAIN = 6  # grey levels
IMAGE_SIZE = 64
LANES = (1, 2)


class Row(NamedTuple):
    """What read the photographs, how long it took, and for how long it had a core: as long, times lanes, if alone."""

    what: str
    seconds: float
    cpu_seconds: float


def main() -> None:
    """Write photographs, read them in several ways, and print images per second."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs", description=main.__doc__)
    parser.add_argument("--number", type=int, default=600)
    number = parser.parse_args().number
    with tempfile.TemporaryDirectory() as folder:
        megapixels = write_photographs(Path(folder), number) / 1e6
        print(f"{number} JPEGs of {megapixels / number:.1f} megapixels on average, to {IMAGE_SIZE}x{IMAGE_SIZE} in RGB")
        print(f"{'':20} {'seconds':>8} {'of cores':>9} {'images/s':>9} {'megapixels/s':>13}")
        for what, seconds, cpu_seconds in measure(Path(folder)):
            rates = f"{number / seconds:9.0f} {megapixels / seconds:13.0f}"
            print(f"{what:20} {seconds:8.1f} {cpu_seconds:9.1f} {rates}", flush=True)


def write_photographs(folder: Path, number: int) -> int:
    """Write `number` photographs in two classes; returns the number of all their pixels."""
    draw = np.random.default_rng(0)
    grain = draw.normal(0, GRAIN, (512, 512, 1))
    pixels = 0
    for name in CLASSES:
        (folder / name).mkdir()
    for k in range(number):
        long = round(math.exp(draw.uniform(*map(math.log, LONG_EDGE))))
        size = (long, round(long / draw.choice(ASPECTS)))[:: draw.choice((-1, 1))]
        coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        image = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
        repeats = (-(-size[1] // 512), -(-size[0] // 512), 1)
        noised = (image + np.tile(grain, repeats)[: size[1], : size[0]]).clip(0, 255).astype(np.uint8)
        path = folder / CLASSES[k % len(CLASSES)] / f"{k:06}.jpg"
        Image.fromarray(noised).save(path, quality=int(draw.choice(QUALITIES)))
        pixels += size[0] * size[1]
    return pixels


def measure(folder: Path) -> list[Row]:
    """A loop over the files with Pillow alone, then ours with each number of lanes."""
    for path in folder.rglob("*.jpg"):
        path.read_bytes()
    rows = [_row("a loop with Pillow", lambda: by_pillow(folder))]
    before = torch.get_num_threads()
    for lanes in LANES:
        torch.set_num_threads(lanes)
        rows.append(_row(f"prepare, {lanes} lane{'s' * (lanes > 1)}", lambda: ours(folder)))
    torch.set_num_threads(before)
    return rows


def by_pillow(folder: Path) -> list[np.ndarray]:
    """Every photograph as people read it: decoded whole, then resized."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    found = []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            found.append(np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC)))
    return found


def ours(folder: Path) -> int:
    """Read the folder as `prepare` does; returns the number of images."""
    splits = load_splits("folder", folder, generator_for(0, "split"), IMAGE_SIZE, channels=3)
    return len(splits.train.labels) + len(splits.test.labels)


def _row(what: str, work: Callable[[], object]) -> Row:
    start, cpu_start = time.perf_counter(), time.process_time()
    work()
    return Row(what, time.perf_counter() - start, time.process_time() - cpu_start)


if __name__ == "__main__":
    main()
