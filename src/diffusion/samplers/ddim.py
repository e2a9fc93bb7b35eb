"""DDIM and DDPM: one update formula, from a deterministic step (eta = 0) to DDPM's posterior (eta = 1)."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Sampler, Step, Walk
from diffusion.schedule import NoiseSchedule, times_from


@torch.no_grad()
def ddim(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor], eta: float = 0.0
) -> Iterator[Step]:
    """DDIM (Song et al. 2021, eq. 12 and 16): eta = 0 is deterministic, eta = 1 draws from DDPM's posterior.

    The variance is the posterior's of the actual pair (t, s), so eta = 1 over all T steps is exactly DDPM.
    """
    x_t = next(normals)
    for t, s in schedule.steps(times):
        x_0 = denoise(x_t, t.time)
        eps = (x_t - t.signal * x_0) / t.noise
        # eta = 0 must not divide by alpha_bar_s: inversion walks up to where it may be 0
        variance = eta**2 * (1 - s.alpha_bar) / (1 - t.alpha_bar) * (1 - t.alpha_bar / s.alpha_bar) if eta else 0.0
        x_t = s.signal * x_0 + math.sqrt(1 - s.alpha_bar - variance) * eps
        if variance > 0:
            x_t = x_t + math.sqrt(variance) * next(normals)
        yield Step(s.time, x_t, x_0)


def ddpm(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """Ancestral sampling from the posterior q(x_s | x_t, x_0) (Ho et al. 2020, eq. 6 and 7, algorithm 2)."""
    return ddim(denoise, schedule, times, normals, eta=1.0)


def by_ddim(num_steps: int, eta: float = 0.0) -> Walk:
    """DDIM in `num_steps` evenly spaced steps; with eta = 1 and all T steps it is DDPM."""

    def walk(denoise: Denoise, schedule: NoiseSchedule, normals: Iterator[Tensor]) -> Iterator[Step]:
        return ddim(denoise, schedule, times_from("trailing", schedule, num_steps), normals, eta)

    return walk


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(ddpm, takes_all_steps=True),
    "ddim": Sampler(ddim, takes_eta=True),
}
