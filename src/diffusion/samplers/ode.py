"""The probability-flow ODE (Song et al. 2021, section 4.3): every x_T has one way down to an image, and back up.

In the angle that turns the image into noise, x = cos(angle) x_0 + sin(angle) eps, its slope is v (Salimans & Ho 2022,
appendix D): smooth, and finite at both ends. Heun and the multistep solvers are samplers; `solve` picks its own steps.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Step
from diffusion.schedule import NoiseSchedule
from diffusion.target import TARGETS, eps_from_x_0

Slope = Callable[[float, Tensor], Tensor]
FIRST_TIME = 1.0  # where solving ends and begins: the least noisy time that networks are trained at


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
        h = half_log_snr(signal_s, noise_s) - half_log_snr(signal_t, noise_t)
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


def half_log_snr(signal: float, noise: float) -> float:
    """log(signal / noise), infinite at both ends of the chain."""
    if signal == 0 or noise == 0:
        return -math.inf if signal == 0 else math.inf
    return math.log(signal / noise)


def flow(denoise: Denoise, schedule: NoiseSchedule) -> Slope:
    """(angle, x) -> dx / d angle, which is v (B, ...) as the denoiser sees it; for angles above 0."""

    def slope(angle: float, x: Tensor) -> Tensor:
        signal, noise = (x.new_tensor(weight) for weight in (math.cos(angle), math.sin(angle)))
        t = schedule.time_at(torch.tensor([math.cos(angle) ** 2], dtype=torch.float64)).item()
        x_0 = denoise(x, t)
        return TARGETS["v"].value(x_0, eps_from_x_0(x, x_0, signal, noise), signal, noise)

    return slope


def angle_at(schedule: NoiseSchedule, t: float) -> float:
    """The angle of x_t between the image (0) and the noise (pi / 2)."""
    signal, noise = schedule.coefficients(t)
    return math.atan2(noise, signal)


def solve(slope: Slope, x: Tensor, start: float, end: float, tolerance: float) -> Tensor:
    """x (B, ...) carried from one angle to another by adaptive Runge-Kutta steps of order 5 (Dormand & Prince 1980).

    `tolerance` is the error allowed per step, relative and absolute, in the root mean square over the whole batch, so
    images may differ by about as much between batches. Raises ValueError where the solver gives up.
    """
    from scipy.integrate import solve_ivp

    def flat_slope(angle: float, flat: np.ndarray) -> np.ndarray:
        return slope(angle, torch.from_numpy(flat).to(x).view_as(x)).flatten().double().cpu().numpy()

    solution = solve_ivp(flat_slope, (start, end), x.flatten().double().cpu().numpy(), rtol=tolerance, atol=tolerance)
    if not solution.success:
        raise ValueError(f"the probability-flow ODE could not be solved ({solution.message})")
    return torch.from_numpy(solution.y[:, -1]).to(x).view_as(x)


@torch.no_grad()
def adaptive(denoise: Denoise, schedule: NoiseSchedule, x_last: Tensor, tolerance: float) -> Tensor:
    """Images (B, ...) of start noise x_T, in as many calls as the tolerance takes: down to t = 1, x_0 from there."""
    start, end = angle_at(schedule, schedule.timesteps), angle_at(schedule, FIRST_TIME)
    return denoise(solve(flow(denoise, schedule), x_last, start, end, tolerance), FIRST_TIME)
