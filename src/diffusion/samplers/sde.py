"""The reverse SDE (Song et al. 2021, section 3.2): the way from noise to images with fresh noise in every step.

With u = 1 / alpha_bar as its clock, the forward process is dx = -x / (2 u) du + sqrt(1 / u) dw. In a step from t to s,
beta = 1 - alpha_bar_t / alpha_bar_s is how far the clock runs back, over u where it starts: never above 1, also where
alpha_bar_T = 0, so that no step overshoots.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.ode import half_log_snr
from diffusion.samplers.step import Step
from diffusion.schedule import NoiseSchedule
from diffusion.target import score_from_x_0

CORRECTOR_SNR = 0.16  # Song et al. 2021, appendix G: r of a Langevin step


def euler_maruyama(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]
) -> Iterator[Step]:
    """The Euler-Maruyama method: a step along the drift x / 2 + score, then noise; none in the last step."""
    return _reverse_sde(denoise, schedule, times, noise, corrected=False)


def predictor_corrector(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor]
) -> Iterator[Step]:
    """Euler-Maruyama with a step of Langevin dynamics at every time but 0 (Song et al. 2021, algorithms 3 and 5).

    The corrector pulls x_s towards the distribution that it should have at its time. Two calls per step, one in the
    last.
    """
    return _reverse_sde(denoise, schedule, times, noise, corrected=True)


@torch.no_grad()
def _reverse_sde(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], noise: Iterator[Tensor], corrected: bool
) -> Iterator[Step]:
    x_t = next(noise)
    weights = zip(*schedule.coefficients(torch.tensor(times)), strict=True)
    for (t, (signal_t, noise_t)), (s, (signal_s, noise_s)) in pairwise(zip(times, weights, strict=True)):
        x_0 = denoise(x_t, t)
        beta = 1 - (signal_t / signal_s).item() ** 2
        x_t = x_t + beta * (x_t / 2 + score_from_x_0(x_t, x_0, signal_t, noise_t))
        if s > 0:
            x_t = x_t + math.sqrt(beta) * next(noise)
        if s > 0 and corrected:
            x_t = langevin_step(x_t, score_from_x_0(x_t, denoise(x_t, s), signal_s, noise_s), noise_s.item(), noise)
        yield Step(s, x_t, x_0)


def langevin_step(x: Tensor, score: Tensor, sigma: float, noise: Iterator[Tensor]) -> Tensor:
    """x + size * score + sqrt(2 size) z, with size = 2 (r sigma)^2.

    That is algorithm 5's size with the norms of the score and of z put at what they are on average, |eps| / sigma and
    |eps|: a size measured on a batch would make every image depend on its batch mates.
    """
    size = 2 * (CORRECTOR_SNR * sigma) ** 2
    return x + size * score + math.sqrt(2 * size) * next(noise)


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
        h = half_log_snr(signal_s, noise_s) - half_log_snr(signal_t, noise_t)
        ahead = x_0 + h / (2 * last[1]) * (x_0 - last[0]) if last and math.isfinite(h) else x_0
        fresh = -math.expm1(-2 * h)  # the share of the variance at s that is drawn anew
        x_t = noise_s / noise_t * math.exp(-h) * x_t + signal_s * fresh * ahead
        if noise_s > 0:
            x_t = x_t + noise_s * math.sqrt(fresh) * next(noise)
        last = x_0, h
        yield Step(s, x_t, x_0)
