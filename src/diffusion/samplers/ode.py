"""The probability-flow ODE (Song et al. 2021, section 4.3): every x_T has one path down to an image, and back up.

In the angle that turns the image into noise, x = cos(angle) x_0 + sin(angle) eps, its slope is v (Salimans & Ho 2022,
appendix D): smooth, and finite at both ends. Heun takes the times that it is given, `adaptive` chooses its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Sampler, Step
from diffusion.schedule import NoiseSchedule
from diffusion.target import TARGETS, eps_from_x_0

Slope = Callable[[float, Tensor], Tensor]
FIRST_TIME = 1.0  # where solving ends or begins: the least noisy time that networks are trained at


@torch.no_grad()
def heun(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """Heun's method on the probability-flow ODE d(x / signal) = eps d(sigma), sigma = noise / signal (Karras et al.
    2022, algorithm 1 without churn).

    Deterministic, of second order: a step of DDIM, then half of the difference that eps at its end makes. Two network
    evaluations per step, but one in the step to t = 0 (which has no eps) and one from alpha_bar = 0 (where sigma is
    infinite).
    """
    x_t = next(normals)
    for t, s in schedule.steps(times):
        x_0 = denoise(x_t, t.time)
        eps = (x_t - t.signal * x_0) / t.noise
        x_t = s.signal * x_0 + s.noise * eps
        if s.noise > 0 and t.signal > 0:
            x_0 = denoise(x_t, s.time)
            change = (x_t - s.signal * x_0) / s.noise - eps
            x_t = x_t + (s.noise - t.noise * s.signal / t.signal) / 2 * change
        yield Step(s.time, x_t, x_0)


def flow(denoise: Denoise, schedule: NoiseSchedule) -> Slope:
    """(angle, x) -> dx / d angle for angles above 0, which is the denoiser's v (B, ...)."""

    def slope(angle: float, x: Tensor) -> Tensor:
        signal, noise = math.cos(angle), math.sin(angle)
        x_0 = denoise(x, schedule.time_at(signal**2).item())
        return TARGETS["v"].value(x_0, eps_from_x_0(x, x_0, signal, noise), signal, noise)

    return slope


def angle_at(schedule: NoiseSchedule, t: float) -> float:
    """The angle of x_t between the image (0) and the noise (pi / 2)."""
    signal, noise = schedule.coefficients(t)
    return math.atan2(noise, signal)


def solve(slope: Slope, x: Tensor, start: float, end: float, tolerance: float) -> Tensor:
    """x (B, ...) carried from one angle to another by adaptive Runge-Kutta steps of order 5 (Dormand & Prince 1980).

    `tolerance` bounds the error of a step, relative and absolute, in the root mean square over the whole batch, so an
    image may differ by about as much from batch to batch. Raises ValueError where the solver gives up.
    """
    from scipy.integrate import solve_ivp

    def flat_slope(angle: float, flat: np.ndarray) -> np.ndarray:
        return slope(angle, torch.from_numpy(flat).to(x).view_as(x)).flatten().double().cpu().numpy()

    solution = solve_ivp(flat_slope, (start, end), x.flatten().double().cpu().numpy(), rtol=tolerance, atol=tolerance)
    if not solution.success:
        raise ValueError(f"the probability-flow ODE could not be solved ({solution.message})")
    return torch.from_numpy(solution.y[:, -1]).to(x).view_as(x)


@torch.no_grad()
def adaptive(denoise: Denoise, schedule: NoiseSchedule, normals: Iterator[Tensor], tolerance: float) -> Iterator[Step]:
    """The ODE solved in as many network evaluations as the tolerance takes: down to t = 1, then x_0. Yields one step,
    from T to 0."""
    start, end = angle_at(schedule, schedule.timesteps), angle_at(schedule, FIRST_TIME)
    x_1 = solve(flow(denoise, schedule), next(normals), start, end, tolerance)
    x_0 = denoise(x_1, FIRST_TIME)
    yield Step(0, x_0, x_0)


SAMPLERS: dict[str, Sampler] = {"heun": Sampler(heun, evaluations=2)}
