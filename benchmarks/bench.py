"""`make bench`: how fast training and sampling are with params.yaml, and their overhead over the bare network."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from diffusion.data import Dataset, classes_in_turn
from diffusion.denoiser import Denoiser, clipped, conditional
from diffusion.randomness import image_noise
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.ddim import by_ddim
from diffusion.samplers.step import final
from diffusion.schedule import noise_schedule
from diffusion.training.optimiser import Optimiser
from stages.params.params import Params
from stages.params.rules import image_size
from stages.shared.machine import machine_of
from stages.train import training_of

CLASSES = 10
REPEATS = 15
SAMPLING_STEPS = 20


def main() -> None:
    """Print a table; random images stand in for data, since their content does not change the timings."""
    params = Params.load(Path())
    device, precision = machine_of(params)
    size = image_size(params)
    shape = (params.data.channels, size, size)
    images = torch.randint(0, 256, (4096, *shape), dtype=torch.uint8)
    data = Dataset(images, classes_in_turn(len(images), CLASSES), tuple(map(str, range(CLASSES))))
    update, learners = training_of(params, data, device, precision)
    net, _, optimiser, _ = learners["denoiser"]
    denoiser = Denoiser(net, noise_schedule(params.schedule, params.timesteps), params.train.target, precision)

    for name, value in describe_machine(device, precision).items():
        print(f"{name:24} {value}")
    print(f"{'parameters':24} {sum(p.numel() for p in denoiser.net.parameters()):,}")
    print(f"{'':24} {'images/s':>10} {'overhead':>10}   (median of {REPEATS}, smallest to largest)")
    rate, ratios = training(params, denoiser, update, optimiser, shape)
    print(f"{f'training, batch {params.train.batch_size}':24} {rate:10.0f} {ratios}")
    rate, ratios = sampling(params, denoiser, shape, device)
    print(f"{f'sampling, batch {params.sampling.batch_size}':24} {rate:10.1f} {ratios}   DDIM, NFE {SAMPLING_STEPS}")


def training(
    params: Params,
    denoiser: Denoiser,
    update: Callable[[int], object],
    optimiser: Optimiser,
    shape: tuple[int, int, int],
) -> tuple[float, str]:
    """Images per second of training steps, and their time relative to bare forward, backward and optimiser steps."""
    number, device = params.train.batch_size, optimiser.parameters[0].device
    x = torch.randn(number, *shape, device=device)
    t = torch.full((number,), params.timesteps / 2)
    label = classes_in_turn(number, CLASSES).to(device)

    def bare_step(_: int) -> None:
        optimiser.adamw.zero_grad()
        denoiser.predict(x, t, label).square().mean().backward()
        optimiser.adamw.step()

    whole, ratios = interleave(device, update, bare_step)
    return number / median(whole), ratios


def sampling(
    params: Params, denoiser: Denoiser, shape: tuple[int, int, int], device: torch.device
) -> tuple[float, str]:
    """Images per second of DDIM, and its time relative to as many bare evaluations of the network."""
    number = params.sampling.batch_size
    label = classes_in_turn(number, CLASSES).to(device)
    walk = by_ddim(SAMPLING_STEPS)
    denoise = clipped(conditional(denoiser, label))
    x = torch.randn(number, *shape, device=device)

    def sample(run: int) -> None:
        final(walk(denoise, denoiser.schedule, image_noise(run, "bench", range(number), shape, device)))

    @torch.no_grad()
    def bare_evaluations(_: int) -> None:
        for _ in range(SAMPLING_STEPS):
            denoiser.predict(x, params.timesteps / 2, label)

    denoiser.net.eval()
    whole, ratios = interleave(device, sample, bare_evaluations)
    return number / median(whole), ratios


def interleave(
    device: torch.device, whole: Callable[[int], object], bare: Callable[[int], object]
) -> tuple[list[float], str]:
    """Seconds of `whole(k)`, and their ratio to those of `bare(k)` right after it; the first pair is a warm-up."""
    seconds, ratios = [], []
    for k in range(REPEATS + 1):
        with stopwatch(device) as first:
            whole(k)
        with stopwatch(device) as second:
            bare(k)
        seconds.append(first[0])
        ratios.append(first[0] / second[0])
    ratios = sorted(ratios[1:])
    return seconds[1:], f"{median(ratios):10.3f}   ({ratios[0]:.3f} to {ratios[-1]:.3f})"


if __name__ == "__main__":
    main()
