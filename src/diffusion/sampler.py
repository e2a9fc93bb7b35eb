"""Samplers: generators that walk x_t down a list of times and yield every `Step`.

A step goes from t to s < t. Fewer steps are another list of times; the last time is 0, where alpha_bar = 1, so no
sampler has a special last step. A sampler calls `denoise(x_t, t)` once per step (Heun's twice) and draws its noise from
an iterator of standard normals, whose first draw is the start noise x_T.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.schedule import NoiseSchedule, times_from


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
def heun(denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]) -> Iterator[Step]:
    """Heun's method on the probability-flow ODE d(x / signal) = eps d(sigma), sigma = noise / signal (Karras et al.
    2022, algorithm 1 without churn).

    Deterministic, of second order: DDIM's step, then half the difference that eps at its end makes. Two calls per step,
    one in the step to t = 0 (there is no eps) and in one from alpha_bar = 0 (sigma is infinite).
    """
    x_t = next(noise)
    weights = zip(*(c.tolist() for c in schedule.coefficients(torch.tensor(times))), strict=True)
    for (t, (signal_t, noise_t)), (s, (signal_s, noise_s)) in pairwise(zip(times, weights, strict=True)):
        x_0 = denoise(x_t, t)
        eps = (x_t - signal_t * x_0) / noise_t
        x_t = signal_s * x_0 + noise_s * eps
        if noise_s > 0 and signal_t > 0:
            x_0 = denoise(x_t, s)
            change = (x_t - signal_s * x_0) / noise_s - eps
            x_t = x_t + (noise_s - noise_t * signal_s / signal_t) / 2 * change
        yield Step(s, x_t, x_0)


def dpmpp_2m(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order by remembering the last estimate of x_0.

    Deterministic. With lambda = log(signal / noise), the step to t = 0 (lambda infinite) is of first order.
    """
    return _multistep(denoise, schedule, times, noise, correct=None)


def unipc(denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]) -> Iterator[Step]:
    """UniPC of order 2 (Zhao et al. 2023, algorithms 7 and 8, B2(h) = e^h - 1): DPM-Solver++(2M), whose every step is
    taken again once x_0 at its end is known. That costs no call, since the next step needs this x_0 anyway."""
    return _multistep(denoise, schedule, times, noise, correct=_corrected)


@torch.no_grad()
def sde_dpmpp_2m(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022): the reverse SDE, with fresh noise in every step but the last.

    Its first order is DDIM with eta = 1; the second comes from the change of x_0 over the step before.
    """
    x_t, last = next(noise), None
    weights = zip(*(c.tolist() for c in schedule.coefficients(torch.tensor(times))), strict=True)
    for (t, (signal_t, noise_t)), (s, (signal_s, noise_s)) in pairwise(zip(times, weights, strict=True)):
        x_0 = denoise(x_t, t)
        h = _half_log_snr(signal_s, noise_s) - _half_log_snr(signal_t, noise_t)
        ahead = x_0 + h / (2 * last[1]) * (x_0 - last[0]) if last and math.isfinite(h) else x_0
        fresh = -math.expm1(-2 * h)  # the share of the variance at s that is drawn anew
        x_t = noise_s / noise_t * math.exp(-h) * x_t + signal_s * fresh * ahead
        if noise_s > 0:
            x_t = x_t + noise_s * math.sqrt(fresh) * next(noise)
        last = x_0, h
        yield Step(s, x_t, x_0)


class _Taken(NamedTuple):
    """A step from t to s in lambda = log(signal / noise), as long as its end may be corrected."""

    h: float  # lambda_s - lambda_t
    x_0: Tensor  # estimated at t
    change: Tensor | None  # of x_0 over the step before this one, and that step's h
    last_h: float
    first_order: Tensor  # x_s if x_0 stayed as it is
    weight: float  # of x_0 in it


@torch.no_grad()
def _multistep(
    denoise: Denoise,
    schedule: NoiseSchedule,
    times: Sequence[float],
    noise: Iterator[Tensor],
    correct: Callable[[_Taken, Tensor], Tensor] | None,
) -> Iterator[Step]:
    x_t, taken = next(noise), None
    weights = zip(*(c.tolist() for c in schedule.coefficients(torch.tensor(times))), strict=True)
    for (t, (signal_t, noise_t)), (s, (signal_s, noise_s)) in pairwise(zip(times, weights, strict=True)):
        x_0 = denoise(x_t, t)
        if correct and taken:
            x_t = correct(taken, x_0)
        h = _half_log_snr(signal_s, noise_s) - _half_log_snr(signal_t, noise_t)
        change, last_h = (x_0 - taken.x_0, taken.h) if taken else (None, 0.0)
        weight = -signal_s * math.expm1(-h)
        first_order = noise_s / noise_t * x_t + weight * x_0
        taken = _Taken(h, x_0, change, last_h, first_order, weight) if math.isfinite(h) else None
        x_t = first_order if change is None or taken is None else first_order + weight * h / (2 * last_h) * change
        yield Step(s, x_t, x_0)


def _corrected(taken: _Taken, x_0: Tensor) -> Tensor:
    """The end of a step by the corrector UniC, given x_0 there: order 2, or 1 for the first step."""
    change = x_0 - taken.x_0
    if taken.change is None:
        return taken.first_order + taken.weight / 2 * change
    h, ratio = taken.h, taken.last_h / taken.h
    linear = 1 / -math.expm1(-h) - 1 / h  # integrals of theta and theta^2, theta in [0, 1] along the step,
    square = 1 / -math.expm1(-h) - 2 / h * linear  # weighted with e^(h theta) and normed
    before = (linear - square) / (1 + ratio)
    return taken.first_order + taken.weight * (before / ratio * taken.change + (linear - before) * change)


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "sde_dpmpp_2m": sde_dpmpp_2m,
    "unipc": unipc,
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


def _half_log_snr(signal: float, noise: float) -> float:
    if signal == 0 or noise == 0:
        return -math.inf if signal == 0 else math.inf
    return math.log(signal / noise)
