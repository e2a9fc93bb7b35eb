"""`make gpu`: what can only be tried on a GPU, and how fast it is there; results go to reports/gpu.

The tests of GPUs, the smoke pipeline, `make bench`, then ten minutes of training by presets/gpu.args: in bf16 and fp32,
compiled and not, on random images, since their content does not change the timings.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.bench import random_data
from diffusion.data import Dataset, classes_in_turn
from diffusion.denoiser import Denoiser
from diffusion.generation import of_denoiser
from diffusion.randomness import image_noise
from diffusion.runtime import describe_machine, freeze, stopwatch, synchronize
from diffusion.samplers.ddim import by_ddim
from diffusion.schedule import noise_schedule
from diffusion.training.optimiser import Optimiser
from stages.params.params import AllParams
from stages.shared.machine import machine_of
from stages.shared.outputs import write_json, write_table
from stages.train import training_of

REPORT = Path("reports/gpu")
SECONDS = 600.0  # of training, in all
PRECISIONS, COMPILED = ("bf16", "fp32"), (False, True)
WARM_UP, QUEUED = 10, 50  # training steps before the clock starts, and between two looks at it
SAMPLING_STEPS = 50
COMPARED, TOLERANCE = 20, 1e-3  # images that a CPU draws too, and how far a pixel in [-1, 1] may be from its own


class Row(NamedTuple):
    """A line of the table."""

    precision: str
    compiled: bool
    training: float  # images/s
    sampling: float  # images/s, by DDIM, never compiled
    utilisation: float  # of the GPU while training, in %
    memory: int  # most that tensors took on the GPU, in MiB


def main() -> None:
    """Run all of it, print the table and write it; the exit status is 1 where the samples are not those of the CPU."""
    if not torch.cuda.is_available():
        sys.exit("error: gpu: PyTorch finds no GPU on this machine (torch.cuda.is_available() is false)")
    run([sys.executable, "-m", "pytest", "tests/test_gpu.py"])
    smoke_pipeline()
    run([sys.executable, "-m", "benchmarks.bench"])
    run([sys.executable, "-m", "benchmarks.processes"])
    preset = Path("presets/gpu.args").read_text().replace("-S ", "").split()
    params = AllParams.load(Path()).changed([*preset, "device=cuda"])
    data, device = random_data(params), machine_of(params).device
    print(f"\n{'precision':10} {'compiled':9} {'training/s':>11} {'sampling/s':>11} {'utilised %':>11} {'MiB':>7}")
    rows = []
    for precision, compiled in product(PRECISIONS, COMPILED):
        torch.compiler.reset()  # the graphs of the line before hold memory
        changed = params.changed([f"precision={precision}", f"train.compile={str(compiled).lower()}"])
        row, denoiser = measured(changed, data, device, SECONDS / len(PRECISIONS) / len(COMPILED))
        rows.append(row)
        print("{:10} {!s:9} {:11.0f} {:11.0f} {:11.0f} {:7}".format(*row), flush=True)
    difference = difference_from_cpu(denoiser, data.shape)
    print(f"samples in fp32, on the GPU and on the CPU: {difference:.1e} apart (allowed: {TOLERANCE})")
    write_table(REPORT / "gpu.csv", Row._fields, rows)
    write_json(REPORT / "gpu.json", {"largest_difference": difference, **describe_machine(device, "fp32")})
    if not difference <= TOLERANCE:
        sys.exit("error: gpu: the samples are not those of the CPU")


def run(command: list[str], folder: Path = Path()) -> None:
    """Run a command and show what it prints; where it fails, so does this."""
    print(f"\n$ {shlex.join(command)}", flush=True)
    ended = subprocess.run(command, cwd=folder)
    if ended.returncode:
        sys.exit(f"error: gpu: {shlex.join(command[:5])} ended with status {ended.returncode}")


def smoke_pipeline() -> None:
    """All stages with little training on the GPU, in a clone, so that params and results here stay as they are."""
    preset = Path("presets/smoke.args").read_text().split()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        run(["git", "clone", "--quiet", ".", str(clone)])
        for key, value in (("user.name", "gpu"), ("user.email", "gpu@localhost")):
            run(["git", "config", key, value], clone)
        run(["dvc", "exp", "run", "--all-pipelines", *preset, "-S", "device=cuda"], clone)


def measured(params: AllParams, data: Dataset, device: torch.device, seconds: float) -> tuple[Row, Denoiser]:
    """Train for so long, then draw a batch: the line of the table, and the averaged denoiser."""
    precision, train = params.precision, params.train
    torch.cuda.reset_peak_memory_stats(device)
    update, learners = training_of(params, data, device, precision)
    learner = learners["denoiser"]
    assert learner.ema
    for step in range(WARM_UP):
        update(step)
    steps = WARM_UP
    with utilisation(device) as used, stopwatch(device) as elapsed:
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            for _ in range(QUEUED):
                update(steps)
                steps += 1
            synchronize(device)
    assert isinstance(learner.optimiser, Optimiser)
    learner.optimiser.refuse_not_finite()
    schedule = noise_schedule(params.schedule, params.timesteps)
    denoiser = Denoiser(freeze(learner.ema.net, device), schedule, train.target, precision)
    model, number = of_denoiser(denoiser, data.shape, by_ddim(SAMPLING_STEPS)), params.sampling.batch_size
    labels = classes_in_turn(number, data.num_classes)
    for _ in range(2):  # the first is a warm-up
        with stopwatch(device) as drawing:
            model.images(labels, params.seed, "gpu", number)
    memory = torch.cuda.max_memory_allocated(device) // 2**20
    rate = (steps - WARM_UP) * train.batch_size / elapsed[0]
    return Row(precision, train.compile, rate, number / drawing[0], mean(used or [0.0]), memory), denoiser


@contextmanager
def utilisation(device: torch.device) -> Iterator[list[float]]:
    """Yield a list that gets, after the block, the share of every second in it that the GPU was busy, in %."""
    found: list[float] = []
    identity = f"--id=GPU-{torch.cuda.get_device_properties(device).uuid}"
    command = ["nvidia-smi", identity, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
        finally:
            process.kill()
            found += map(float, process.communicate()[0].split())


def difference_from_cpu(denoiser: Denoiser, shape: tuple[int, int, int]) -> float:
    """The largest difference of a pixel in [-1, 1] between the same samples on the denoiser's device, without TF32, and
    on the CPU."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    images = [drawn(denoiser, shape)]
    freeze(denoiser.net, torch.device("cpu"))
    images.append(drawn(denoiser, shape))
    return (images[0] - images[1]).abs().max().item()


@torch.no_grad()
def drawn(denoiser: Denoiser, shape: tuple[int, int, int]) -> Tensor:
    """Some samples, float, on the CPU."""
    labels = classes_in_turn(COMPARED, COMPARED // 2).to(denoiser.device)
    normals = image_noise(0, "gpu", range(COMPARED), shape, denoiser.device)
    return of_denoiser(denoiser, shape, by_ddim(SAMPLING_STEPS)).sample(labels, normals).cpu()


if __name__ == "__main__":
    main()
