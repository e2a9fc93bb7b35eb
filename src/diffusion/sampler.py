"""Samplers: generators that walk x_t down a list of times and yield every `Step`.

A step goes from t to s < t. Fewer steps are another list of times; the last time is 0, where alpha_bar = 1, so no
sampler has a special last step. A sampler calls `denoise(x_t, t)` once per step and draws its noise from an iterator
of standard normals, whose first draw is the start noise x_T.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.schedule import NoiseSchedule, trailing_times


class Step(NamedTuple):
    """The state after a step: x_t at the time t that it arrived at, and the x_0 estimated on the way there."""

    t: float
    x_t: Tensor
    x_0: Tensor


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
        variance = eta**2 * (1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_s)
        x_t = math.sqrt(alpha_bar_s) * x_0 + math.sqrt(1 - alpha_bar_s - variance) * eps
        if variance > 0:
            x_t = x_t + math.sqrt(variance) * next(noise)
        yield Step(s, x_t, x_0)


def ddpm(denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]) -> Iterator[Step]:
    """Ancestral sampling from the posterior q(x_s | x_t, x_0) (Ho et al. 2020, eq. 6 and 7, algorithm 2)."""
    return ddim(denoise, schedule, times, noise, eta=1.0)


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order by remembering the last estimate of x_0.

    Deterministic. With lambda = log(signal / noise), the step to t = 0 (lambda infinite) is of first order.
    """
    x_t = next(noise)
    last_x_0, last_h = None, 0.0
    weights = zip(*(c.tolist() for c in schedule.coefficients(torch.tensor(times))), strict=True)
    for (t, (signal_t, noise_t)), (s, (signal_s, noise_s)) in pairwise(zip(times, weights, strict=True)):
        x_0 = denoise(x_t, t)
        h = _half_log_snr(signal_s, noise_s) - _half_log_snr(signal_t, noise_t)
        extrapolation = 0.0 if last_x_0 is None or math.isinf(h) else h / (2 * last_h)
        towards = x_0 if extrapolation == 0 else x_0 + extrapolation * (x_0 - last_x_0)
        x_t = noise_s / noise_t * x_t - signal_s * math.expm1(-h) * towards
        last_x_0, last_h = x_0, h
        yield Step(s, x_t, x_0)


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {"ddpm": ddpm, "ddim": ddim, "dpmpp_2m": dpmpp_2m}


class SamplerSetting(NamedTuple):
    """A row of a comparison: which sampler, how many steps, and eta where the sampler has one (else None)."""

    sampler: str
    steps: int
    eta: float | None = None

    def start(self, denoise: Denoise, schedule: NoiseSchedule, noise: Iterator[Tensor]) -> Iterator[Step]:
        """The sampler under way on evenly spaced times. Raises ValueError for an unknown sampler or steps > T."""
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler: {self.sampler!r} is unknown (allowed: {', '.join(SAMPLERS)})")
        options = {} if self.eta is None else {"eta": self.eta}
        times = trailing_times(schedule.timesteps, self.steps)
        return SAMPLERS[self.sampler](denoise, schedule, times, noise, **options)


def comparison(
    timesteps: int, steps: Sequence[int], etas: Sequence[float], eta_steps: Sequence[int], solver_steps: Sequence[int]
) -> list[SamplerSetting]:
    """The settings compared: DDPM, DDIM without noise, DDIM with noise (every eta above 0), DPM-Solver++(2M)."""
    return [
        SamplerSetting("ddpm", timesteps),
        *(SamplerSetting("ddim", count, 0.0) for count in steps),
        *(SamplerSetting("ddim", count, eta) for eta in etas if eta > 0 for count in eta_steps),
        *(SamplerSetting("dpmpp_2m", count) for count in solver_steps),
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


def final(steps: Iterable[Step]) -> Tensor:
    """The finished images of a sampler, (B, C, H, W); only one step is held at a time."""
    return deque(steps, maxlen=1)[0].x_t


def _half_log_snr(signal: float, noise: float) -> float:
    if signal == 0 or noise == 0:
        return -math.inf if signal == 0 else math.inf
    return math.log(signal / noise)
