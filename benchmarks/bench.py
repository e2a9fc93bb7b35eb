"""`make bench`: how fast training and sampling are, alone and beside a busy process, and what surrounds the network."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.data import Dataset, classes_in_turn
from diffusion.denoiser import Denoiser
from diffusion.generation import of_denoiser
from diffusion.lanes import in_lanes, one_thread
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.ddim import by_ddim
from diffusion.schedule import noise_schedule
from stages.params.params import Params
from stages.params.rules import image_size
from stages.shared.machine import machine_of
from stages.train import training_of

CLASSES = 10
ROUNDS, BUSY_ROUNDS = 15, 7
TRAINING_STEPS = 20  # in a round
SAMPLING_STEPS = 20
BATCHES = 4  # of sampling in a round
BUSY = "while True: pass"


class Work(NamedTuple):
    """Something whose rate is measured: the same images in lanes, with PyTorch's own threads, and without all that
    surrounds the network."""

    name: str
    images: int
    lanes: Callable[[], object]
    threads: Callable[[], object]
    bare: Callable[[], object]


def main() -> None:
    """Print a table; random images stand in for data, since their content does not change the timings."""
    params = Params.load(Path())
    device, precision = machine_of(params)
    for name, value in describe_machine(device, precision).items():
        print(f"{name:24} {value}")
    works = [training(params, device, precision), sampling(params, device, precision)]
    print(
        f"\nimages/s: medians of {ROUNDS} rounds in turn, beside a busy process of {BUSY_ROUNDS}; overhead: lanes over"
    )
    print("the bare network, round by round (median, smallest to largest)\n")
    print(f"{'':24} {'lanes':>8} {'busy':>8} {'kept':>6} {'threads':>9} {'busy':>8} {'kept':>6}   overhead")
    for work in works:
        alone = rounds(work, device, ROUNDS)
        with busy_process():
            beside = rounds(work, device, BUSY_ROUNDS)
        lanes, threads = (
            "{:8.0f} {:8.0f} {:6.2f}".format(*(rate := (work.images / a, work.images / b)), rate[1] / rate[0])
            for a, b in zip(map(median, alone[:2]), map(median, beside[:2]), strict=True)
        )
        ratios = sorted(whole / bare for whole, bare in zip(alone[0], alone[2], strict=True))
        print(f"{work.name:24} {lanes}  {threads}   {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


def training(params: Params, device: torch.device, precision: str) -> Work:
    """Training steps of params.yaml, with its shards and with one."""
    number, data = params.train.batch_size, random_data(params)
    update, learners = training_of(params, data, device, precision)
    update_of_one, _ = training_of(params.changed(["shards=1"]), data, device, precision)
    net, _, optimiser, _ = learners["denoiser"]
    denoiser = Denoiser(net, noise_schedule(params.schedule, params.timesteps), params.train.target, precision)
    x, t = torch.randn(number, *data.shape, device=device), torch.full((number,), params.timesteps / 2)
    label = classes_in_turn(number, CLASSES).to(device)
    parts = [rows for rows in torch.arange(number).tensor_split(params.shards) if len(rows)]

    def bare_step() -> None:
        def gradient(rows: Tensor) -> Tensor:
            return optimiser.gradient(denoiser.predict(x[rows], t[rows], label[rows]).square().mean())

        gradients = list(in_lanes(gradient, parts, len(parts), device))
        with one_thread():
            optimiser.vector.grad = torch.stack(gradients).mean(0)
            optimiser.adamw.step()

    def steps(step: Callable[[], object]) -> Callable[[], object]:
        return lambda: [step() for _ in range(TRAINING_STEPS)]

    return Work(
        f"training, batch {number}",
        TRAINING_STEPS * number,
        steps(lambda: update(0)),
        steps(lambda: update_of_one(0)),
        steps(bare_step),
    )


def sampling(params: Params, device: torch.device, precision: str) -> Work:
    """Batches of DDIM, side by side and in turn."""
    number, data = params.sampling.batch_size, random_data(params)
    _, learners = training_of(params, data, device, precision)
    net = learners["denoiser"].net.eval().requires_grad_(False)
    denoiser = Denoiser(net, noise_schedule(params.schedule, params.timesteps), params.train.target, precision)
    model = of_denoiser(denoiser, data.shape, by_ddim(SAMPLING_STEPS))
    x, label = torch.randn(number, *data.shape, device=device), classes_in_turn(number, CLASSES).to(device)

    @torch.no_grad()
    def bare_batch(_: int) -> None:
        for _ in range(SAMPLING_STEPS):
            denoiser.predict(x, params.timesteps / 2, label)

    return Work(
        f"sampling, batch {number}",
        BATCHES * number,
        lambda: model.images(label.repeat(BATCHES), 0, "bench", number),
        lambda: [model.images(label, run, "bench", number) for run in range(BATCHES)],
        lambda: list(in_lanes(bare_batch, range(BATCHES), BATCHES, device)),
    )


def random_data(params: Params) -> Dataset:
    """Random images of the data set's size in ten classes."""
    size = image_size(params)
    images = torch.randint(0, 256, (4096, params.data.channels, size, size), dtype=torch.uint8)
    return Dataset(images, classes_in_turn(len(images), CLASSES), tuple(map(str, range(CLASSES))))


def rounds(work: Work, device: torch.device, number: int) -> list[list[float]]:
    """Seconds of lanes, threads and the bare network, by round; the first round is a warm-up."""
    seconds: list[list[float]] = [[], [], []]
    for _ in range(number + 1):
        for kind, run in enumerate(work[2:]):
            with stopwatch(device) as elapsed:
                run()
            seconds[kind].append(elapsed[0])
    return [of_kind[1:] for of_kind in seconds]


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy, as another program of the user would."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
