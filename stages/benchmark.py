"""Stage `benchmark`: the clock and the number of calls of every sampler, and nothing else."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from diffusion.denoiser import clipped, conditional, counted, load_denoiser
from diffusion.randomness import image_noise
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.sampler import SamplerSetting, Step, comparison, final
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.machine import machine_of
from stages.shared.outputs import write_json, write_table

OVERHEAD_STEPS = 20  # of the sampler, and as many calls of the bare network as they took, interleaved, per repeat
TIMES = ("seconds", "seconds_min", "seconds_max")
OVERHEADS = ("overhead", "overhead_min", "overhead_max")


def main(params: Params, *, model: Path, report: Path) -> None:
    """Time every sampler on --model; write to --report."""
    settings, compared = params.benchmark, params.evaluate
    device, precision = machine_of(params)
    denoiser, description = load_denoiser(model, device, precision)
    net = description["net"]
    shape = (net["image_channels"], net["image_size"], net["image_size"])
    labels = torch.arange(settings.num_images, device=device) % net["num_classes"]
    calls: list[float] = []
    denoise = counted(clipped(conditional(denoiser, labels)), calls)

    def steps_of(setting: SamplerSetting) -> Iterator[Step]:
        noise = image_noise(params.seed, "benchmark", range(settings.num_images), shape, device)
        return setting.start(denoise, denoiser.schedule, noise)

    @torch.no_grad()
    def bare_calls(number: int) -> None:
        x = torch.randn(settings.num_images, *shape, device=device)
        for _ in range(number):
            denoiser.predict(x, 1.0, labels)

    def clock(work: Callable[[], object]) -> float:
        with stopwatch(device) as elapsed:
            work()
        return elapsed[0]

    def overhead(setting: SamplerSetting) -> float:
        calls.clear()
        seconds = clock(lambda: list(islice(steps_of(setting), OVERHEAD_STEPS)))
        return seconds / clock(lambda: bare_calls(len(calls)))

    bare_calls(OVERHEAD_STEPS)  # warm-up
    rows = []
    settings_compared = comparison(params.timesteps, **compared.comparison())
    for setting in tqdm(settings_compared, desc="benchmark", unit="sampler"):
        calls.clear()
        seconds = [clock(lambda: final(steps_of(setting))) for _ in range(settings.repeats)]  # noqa: B023
        num_calls = len(calls) // settings.repeats
        ratios = [overhead(setting) for _ in range(settings.repeats)]
        rows.append(
            [*setting, settings.num_images, num_calls, *spread(seconds), settings.repeats]
            + [settings.num_images / median(seconds), *spread(ratios)]
        )
    header = [*SamplerSetting._fields, "images", "calls", *TIMES, "repeats", "images_per_second", *OVERHEADS]
    write_table(report / "timing.csv", header, rows)
    write_json(report / "timing.json", describe_machine(device, precision))


def spread(values: list[float]) -> tuple[float, float, float]:
    """(median, smallest, largest)."""
    return median(values), min(values), max(values)


if __name__ == "__main__":
    run(main)
