"""Stage `benchmark`: the clock and the network evaluations of every sampler, and nothing else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median, quantiles
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import classes_in_turn
from diffusion.denoiser import Conditional, Denoiser, clipped, counted, load_denoiser
from diffusion.randomness import image_noise
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.step import Step, final
from diffusion.samplers.table import SETTING_COLUMNS, SamplerSetting, comparison
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.machine import machine_of
from stages.shared.outputs import write_json, write_table

OVERHEAD_STEPS = 20  # of the sampler in a repeat, followed by as many evaluations of the bare network as they took
MANY_CALLS = 500  # from here on a run is so long that one is enough
TIMES = ("seconds", "seconds_min", "seconds_max")
OVERHEADS = ("overhead", "overhead_min", "overhead_max")
COLUMNS = (*SETTING_COLUMNS, "images", "calls", *TIMES, "repeats", "images_per_second", *OVERHEADS)


def main(params: Params, *, model: Path, results: Path) -> None:
    """Time every sampler on --model; write to --results."""
    machine = machine_of(params)
    denoiser, description = load_denoiser(model, *machine)
    net, number = description["net"], params.benchmark.num_images
    shape = (number, net["image_channels"], net["image_size"], net["image_size"])
    bench = Bench(denoiser, shape, classes_in_turn(number, net["num_classes"]).to(machine.device), params.seed, [])
    bench.evaluate_net(OVERHEAD_STEPS)  # warm-up
    compared = tqdm(comparison(params.timesteps, **params.sampling.comparison()), desc="benchmark", unit="sampler")
    with preemptions() as others:
        rows = [bench.row(setting, params.benchmark.repeats) for setting in compared]
    write_table(results / "timing.csv", COLUMNS, rows)
    first, *_, last = quantiles(bench.bare, n=10)
    write_json(results / "timing.json", {**others, "bare_spread": last / first, **describe_machine(*machine)})


class Bench(NamedTuple):
    """A denoiser with the batch of images, and their labels, that it is timed on."""

    denoiser: Denoiser
    shape: tuple[int, int, int, int]  # (B, C, H, W)
    labels: Tensor
    seed: int
    bare: list[float]  # seconds of every evaluation of the bare network, all of which should be equal

    def row(self, setting: SamplerSetting, repeats: int) -> list[object]:
        """COLUMNS of a sampler: median, smallest and largest of the repeats."""
        times: list[float] = []
        runs = 1 if setting.steps >= MANY_CALLS else repeats
        seconds = [self.clock(lambda: final(self.steps(setting, times))) for _ in range(runs)]
        ratios = [self.overhead(setting) for _ in range(repeats)]
        number, evaluations = len(self.labels), len(times) // runs
        rate = number / median(seconds)
        return [*setting, number, evaluations, *spread(seconds), runs, rate, *spread(ratios)]

    def overhead(self, setting: SamplerSetting) -> float:
        """The first steps of a sampler, over as many evaluations of the bare network."""
        times: list[float] = []
        seconds = self.clock(lambda: list(islice(self.steps(setting, times), OVERHEAD_STEPS)))
        bare = self.clock(lambda: self.evaluate_net(len(times)))
        self.bare.append(bare / len(times))
        return seconds / bare

    def steps(self, setting: SamplerSetting, times: list[float]) -> Iterator[Step]:
        """The steps of a sampler, every evaluation noted in `times`."""
        normals = image_noise(self.seed, "benchmark", range(len(self.labels)), self.shape[1:], self.denoiser.device)
        denoise = counted(clipped(Conditional(self.denoiser, self.labels)), times)
        return setting.start(denoise, self.denoiser.schedule, normals)

    @torch.no_grad()
    def evaluate_net(self, number: int) -> None:
        """Evaluate the network `number` times."""
        x = torch.randn(self.shape, device=self.denoiser.device)
        for _ in range(number):
            self.denoiser.predict(x, 1.0, self.labels)

    def clock(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes."""
        with stopwatch(self.denoiser.device) as elapsed:
            work()
        return elapsed[0]


@contextmanager
def preemptions() -> Iterator[dict[str, float]]:
    """Yield a dict that gets, after the block, how many times a second another process took a core of this one."""
    found: dict[str, float] = {}
    count, start = getrusage(RUSAGE_SELF).ru_nivcsw, time.perf_counter()
    yield found
    taken = getrusage(RUSAGE_SELF).ru_nivcsw - count
    found["preemptions_per_second"] = round(taken / (time.perf_counter() - start), 1)


def spread(values: list[float]) -> tuple[float, float, float]:
    """(median, smallest, largest)."""
    return median(values), min(values), max(values)


if __name__ == "__main__":
    run(main)
