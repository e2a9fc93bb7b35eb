"""Samplers: generators that walk x_t down a list of times and yield every `Step`.

A step goes from t to s < t. Fewer steps are another list of times; the last time is 0, where alpha_bar = 1, so no
sampler has a special last step. A sampler calls `denoise(x_t, t)` once per step (Heun and predictor-corrector twice)
and draws its noise from an iterator of standard normals, whose first draw is the start noise x_T.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.ode import dpmpp_2m, heun, unipc
from diffusion.samplers.sde import euler_maruyama, predictor_corrector, sde_dpmpp_2m
from diffusion.samplers.step import Step
from diffusion.schedule import NoiseSchedule, times_from


@torch.no_grad()
def ddim(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor], eta: float = 0.0
) -> Iterator[Step]:
    """DDIM (Song et al. 2021, eq. 12 and 16): eta = 0 is deterministic, eta = 1 draws from DDPM's posterior.

    The variance is the posterior's of the actual pair (t, s), so eta = 1 over all T steps is DDPM to the letter.
    """
    x_t = next(noise)
    alpha_bars = schedule.alpha_bar_at(torch.tensor(times)).tolist()
    for (t, alpha_bar_t), (s, alpha_bar_s) in pairwise(zip(times, alpha_bars, strict=True)):
        x_0 = denoise(x_t, t)
        eps = (x_t - math.sqrt(alpha_bar_t) * x_0) / math.sqrt(1 - alpha_bar_t)
        # without eta a walk may also end at alpha_bar = 0, as inversion does
        variance = eta**2 * (1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_s) if eta else 0.0
        x_t = math.sqrt(alpha_bar_s) * x_0 + math.sqrt(1 - alpha_bar_s - variance) * eps
        if variance > 0:
            x_t = x_t + math.sqrt(variance) * next(noise)
        yield Step(s, x_t, x_0)


def ddpm(denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]) -> Iterator[Step]:
    """Ancestral sampling from the posterior q(x_s | x_t, x_0) (Ho et al. 2020, eq. 6 and 7, algorithm 2)."""
    return ddim(denoise, schedule, times, noise, eta=1.0)


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "sde_dpmpp_2m": sde_dpmpp_2m,
    "unipc": unipc,
    "euler_maruyama": euler_maruyama,
    "predictor_corrector": predictor_corrector,
}


class SamplerSetting(NamedTuple):
    """A row of a comparison: which sampler, how many steps, eta where the sampler has one (else None), which times."""

    sampler: str
    steps: int
    eta: float | None = None
    times: str = "trailing"

    def start(self, denoise: Denoise, schedule: NoiseSchedule, noise: Iterator[Tensor]) -> Iterator[Step]:
        """The sampler under way. Raises ValueError for an unknown sampler or spacing of times, or steps > T."""
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler: {self.sampler!r} is unknown (allowed: {', '.join(SAMPLERS)})")
        options = {} if self.eta is None else {"eta": self.eta}
        times = times_from(self.times, schedule, self.steps)
        return SAMPLERS[self.sampler](denoise, schedule, times, noise, **options)


def comparison(
    timesteps: int,
    steps: Sequence[int],
    etas: Sequence[float],
    eta_steps: Sequence[int],
    solvers: Sequence[str],
    solver_steps: Sequence[int],
    solver_times: str,
) -> list[SamplerSetting]:
    """The settings compared: DDPM, DDIM without noise, DDIM with noise (every eta above 0), solvers of second order."""
    return [
        SamplerSetting("ddpm", timesteps),
        *(SamplerSetting("ddim", count, 0.0) for count in steps),
        *(SamplerSetting("ddim", count, eta) for eta in etas if eta > 0 for count in eta_steps),
        *(SamplerSetting(solver, count, times=solver_times) for solver in solvers for count in solver_steps),
    ]


def generate(
    denoise_to: Callable[[Tensor], Denoise],
    schedule: NoiseSchedule,
    setting: SamplerSetting,
    labels: Tensor,
    noise_for: Callable[[Sequence[int]], Iterator[Tensor]],
    batch_size: int,
) -> Iterator[Tensor]:
    """Images of the labels (N,), in batches (B, C, H, W); image k is a function of its label and noise_for([k])."""
    for indices in torch.arange(len(labels)).split(batch_size):
        denoise = denoise_to(labels[indices.to(labels.device)])
        yield final(setting.start(denoise, schedule, noise_for(indices.tolist())))


def generate_at_once(
    model: Callable[[Tensor, Tensor], Tensor],
    labels: Tensor,
    latents_for: Callable[[Sequence[int]], Iterator[Tensor]],
    batch_size: int,
) -> Iterator[Tensor]:
    """The same by a model that makes images (B, C, H, W) of latents (B, Z) and labels (B,) in one call."""
    for indices in torch.arange(len(labels)).split(batch_size):
        yield model(next(latents_for(indices.tolist())), labels[indices.to(labels.device)])


def final(steps: Iterable[Step]) -> Tensor:
    """The finished images of a sampler, (B, C, H, W); only one step is held at a time."""
    return deque(steps, maxlen=1)[0].x_t
