"""`make load`: memory and time of large data sets, many samples and many classes. Prints a table; needs Linux.

The networks are tiny, untrained and evaluated a few times: their outputs take as much memory as any other's.

`--large N` measures N images of 64x64 in RGB instead, which memory need not hold: they are prepared, trained on for 200
steps (mapped, then held in memory), and evaluated. A thousand files of noise have N names, as hard links. Needs room
for three copies of the images in the folder for temporary files: 37 kB each.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from diffusion.data import Dataset, classes_in_turn, load_split, save_split
from diffusion.denoiser import save_denoiser
from diffusion.nets.classifier import Classifier
from diffusion.nets.lenet import LeNet
from diffusion.nets.table import build_net
from diffusion.quality.judge import Judge
from stages import evaluate, guidance, prepare, train
from stages.params.params import AllParams, Params
from stages.shared.denoiser_training import net_arguments

SIZE = 28
PRESET = Path("presets/smoke.args")
SMALL = ["data.dataset=mnist5k", "model.patch=2", "model.channels=[8]", "sampling.num_steps=2", "guidance.num_steps=2"]
FOLDER_CLASSES = 10
LARGE_SIZE = 64
LINKED = 1000  # a multiple of FOLDER_CLASSES; a file may have 65,000 names
LARGE = ["data.dataset=folder", "data.root=images", "data.channels=3", "data.test_limit=100", "train.steps=200"]
MEBI = 2**20
DATA, RESULTS = Path("data"), Path("results")
MODEL, EARLY, JUDGE, SECOND = (Path(f"{name}.safetensors") for name in ("model", "early", "judge", "second_judge"))


class Load(NamedTuple):
    """A stage under load: `set_up` writes its inputs into the current folder, another process then runs `stage`."""

    what: str
    number: int
    set_up: Callable[[], None]
    stage: Callable[[], None]


class Figures(NamedTuple):
    """Bytes at the peak over those at the start; bytes of all images in data/; seconds."""

    peak: int
    images: int
    seconds: float


def loads(params: Params, mnist: Path, images: int, samples: int, classes: int) -> list[Load]:
    """What is measured: a folder of `images` images, all of MNIST in `mnist`, this many samples, this many classes."""
    folder = params.changed(["data.dataset=folder", "data.root=images", f"data.image_size={SIZE}"])
    whole = params.changed(["data.dataset=mnist", f"data.root={mnist.resolve()}"])
    many = params.changed([f"evaluate.num_samples={samples}"])
    guided = params.changed(["guidance.samples_per_class=50"])
    few, varied = partial(write_inputs, params, images, 10), partial(write_inputs, params, images, classes)
    prepared = partial(prepare.main, out=DATA, results=RESULTS)
    judged_by = {"data": DATA, "model": MODEL, "early": MODEL, "judge": JUDGE, "second": SECOND, "results": RESULTS}
    return [
        Load("prepare, folder", images, partial(write_folder, images), partial(prepared, folder)),
        Load("prepare, mnist", 70_000, _nothing, partial(prepared, whole)),
        Load("evaluate, samples", samples, few, partial(evaluate.main, many, **judged_by)),
        Load("guidance, classes", classes, varied, partial(guidance.main, guided, **judged_by)),
    ]


def main() -> None:
    """Measure each load in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=main.__doc__)
    parser.add_argument(
        "--mnist", type=Path, default=Path("data/raw"), help="as data.root: MNIST is downloaded where missing"
    )
    parser.add_argument("--large", type=int, metavar="N", help="measure N images of 64x64 in RGB instead")
    arguments = parser.parse_args()
    params = AllParams.load(Path()).changed(PRESET.read_text().replace("-S ", "").split() + SMALL)
    print(f"{'':20} {'n':>7} {'images MiB':>11} {'peak MiB':>9} {'seconds':>8}   (peak: over the start of the process)")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.large:
            measured = ((load, measure_in(folder, load)) for load in large_loads(params, arguments.large))
        else:
            few = loads(params, arguments.mnist, images=50_000, samples=10_000, classes=50)
            measured = ((load, measure(load)) for load in few)
        for load, (peak, images, seconds) in measured:
            print(f"{load.what:20} {load.number:7} {images / MEBI:11.0f} {peak / MEBI:9.0f} {seconds:8.0f}", flush=True)


def large_loads(params: Params, number: int) -> list[Load]:
    """What is measured of images that memory need not hold, one after the other in one folder."""
    large = params.changed([*LARGE, f"data.image_size={LARGE_SIZE}"])
    trained = partial(train.main, large, data=DATA, model=MODEL, early=EARLY, results=RESULTS)
    judges = {"judge": JUDGE, "second": SECOND}
    evaluated = partial(evaluate.main, large, data=DATA, model=MODEL, early=EARLY, **judges, results=RESULTS)
    prepared = partial(prepare.main, large, out=DATA, results=RESULTS)
    return [
        Load("prepare, large", number, partial(write_links, number), prepared),
        Load("train, mapped", number, _nothing, partial(rate_of, trained)),
        Load("train, in memory", number, _nothing, partial(rate_of, trained, in_memory=True)),
        Load("evaluate, large", number, write_large_judges, evaluated),
    ]


def measure(load: Load) -> Figures:
    """Measure a load in a new process and a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        return measure_in(folder, load)


def measure_in(folder: str, load: Load) -> Figures:
    """Measure a load in a new process and this folder."""
    with ProcessPoolExecutor(1, get_context("spawn"), os.chdir, (folder,), max_tasks_per_child=1) as processes:
        processes.submit(load.set_up).result()
        return processes.submit(figures_of, load.stage).result()


def rate_of(training: Callable[[], None], in_memory: bool = False) -> None:
    """Run stage `train`, with the images copied into memory first or as they are, and print its images per second."""
    if in_memory:
        mapped = train.load_split

        def load(path: Path) -> Dataset:
            split = mapped(path)
            return replace(split, images=split.images.clone())

        train.load_split = load
    training()
    rate = json.loads((RESULTS / "timing.json").read_text())["images_per_second"]
    print(f"training {'in memory' if in_memory else 'mapped'}: {rate:.0f} images/s", flush=True)


def figures_of(stage: Callable[[], None]) -> Figures:
    """Run a stage in this process and measure it."""
    start = time.monotonic()
    with peak_memory() as peak:
        stage()
    seconds = time.monotonic() - start
    return Figures(peak[0], sum(load_split(path).images.numel() for path in DATA.iterdir()), seconds)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Yield a list; after the block it holds the peak of this process's memory over that before, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here: man 5 proc
    before, peak = _bytes_in_memory("VmRSS"), []
    yield peak
    peak.append(_bytes_in_memory("VmHWM") - before)


def write_folder(number: int) -> None:
    """Write small PNG files to images/, in ten classes."""
    draw = torch.Generator().manual_seed(0)
    for label in range(FOLDER_CLASSES):
        Path("images", str(label)).mkdir(parents=True)
    for k in range(number):
        pixels = torch.randint(0, 256, (SIZE, SIZE), generator=draw, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(Path("images", str(k % FOLDER_CLASSES), f"{k}.png"))


def write_links(number: int) -> None:
    """Write small colour PNG files to images/, in ten classes: LINKED files, under `number` names."""
    draw = torch.Generator().manual_seed(0)
    for label in range(FOLDER_CLASSES):
        Path("images", str(label)).mkdir(parents=True)
    for k in range(number):
        path = Path("images", str(k % FOLDER_CLASSES), f"{k}.png")
        if k < LINKED:
            pixels = torch.randint(0, 256, (LARGE_SIZE, LARGE_SIZE, 3), generator=draw, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(path)
        else:
            os.link(Path("images", str(k % LINKED % FOLDER_CLASSES), f"{k % LINKED}.png"), path)


def write_large_judges() -> None:
    """Write untrained judges of such images."""
    write_judges(LARGE_SIZE, 3, FOLDER_CLASSES)


def write_judges(*shape: int) -> None:
    """Write untrained judges of images of a size, with so many channels and classes."""
    for path, net in ((JUDGE, Classifier), (SECOND, LeNet)):
        Judge(net(*shape), torch.device("cpu")).save(path)


def write_inputs(params: Params, images: int, classes: int) -> None:
    """Write training images, a fifth as many test images, a denoiser and both judges: random pixels, untrained
    nets."""
    names = tuple(f"class {k}" for k in range(classes))
    draw = torch.Generator().manual_seed(0)
    for name, number in (("train", images), ("test", images // 5)):
        pixels = torch.randint(0, 256, (number, 1, SIZE, SIZE), generator=draw, dtype=torch.uint8)
        save_split(DATA / f"{name}.safetensors", Dataset(pixels, classes_in_turn(number, classes), names), {})
    net = {"image_size": SIZE, "image_channels": 1, "num_classes": classes, **net_arguments(params.model)}
    described = {"schedule": params.schedule, "timesteps": params.timesteps, "target": params.train.target}
    save_denoiser(MODEL, build_net(net).state_dict(), {"net": net, "class_names": names, **described})
    write_judges(SIZE, 1, classes)


def _nothing() -> None:
    pass


def _bytes_in_memory(name: str) -> int:
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main()
