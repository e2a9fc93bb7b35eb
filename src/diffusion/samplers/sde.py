"""The reverse SDE (Song et al. 2021, section 3.2): from noise to images with fresh noise in every step.

With u = 1 / alpha_bar as its clock, the forward process is dx = -x / (2 u) du + sqrt(1 / u) dw. In a step from t to s,
beta = 1 - alpha_bar_t / alpha_bar_s is how far the clock runs back, relative to u where it starts. It never exceeds 1,
even where alpha_bar_T = 0, so no step overshoots.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Sampler, Step
from diffusion.schedule import NoiseSchedule
from diffusion.target import score_from_x_0

CORRECTOR_SNR = 0.16  # Song et al. 2021, appendix G: r of a Langevin step


def euler_maruyama(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """The Euler-Maruyama method: a step along the drift x / 2 + score, then noise, but none in the last step."""
    return _reverse_sde(denoise, schedule, times, normals, corrected=False)


def predictor_corrector(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """Euler-Maruyama with a step of Langevin dynamics at every time but 0 (Song et al. 2021, algorithms 3 and 5).

    The corrector pulls x_s towards the distribution that it should have at its time. Two network evaluations per step,
    one in the last.
    """
    return _reverse_sde(denoise, schedule, times, normals, corrected=True)


@torch.no_grad()
def _reverse_sde(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor], corrected: bool
) -> Iterator[Step]:
    x_t = next(normals)
    for t, s in schedule.steps(times):
        x_0 = denoise(x_t, t.time)
        beta = 1 - (t.signal / s.signal) ** 2
        x_t = x_t + beta * (x_t / 2 + score_from_x_0(x_t, x_0, t.signal, t.noise))
        if s.time > 0:
            x_t = x_t + math.sqrt(beta) * next(normals)
        if s.time > 0 and corrected:
            score = score_from_x_0(x_t, denoise(x_t, s.time), s.signal, s.noise)
            x_t = langevin_step(x_t, score, s.noise, normals)
        yield Step(s.time, x_t, x_0)


def langevin_step(x: Tensor, score: Tensor, sigma: float, normals: Iterator[Tensor]) -> Tensor:
    """x + size * score + sqrt(2 size) z, with size = 2 (r sigma)^2.

    This is the size of algorithm 5 with the norms of the score and of z replaced by their averages, |eps| / sigma and
    |eps|: a size measured on a batch would make every image depend on the others in it.
    """
    size = 2 * (CORRECTOR_SNR * sigma) ** 2
    return x + size * score + math.sqrt(2 * size) * next(normals)


SAMPLERS: dict[str, Sampler] = {
    "euler_maruyama": Sampler(euler_maruyama),
    "predictor_corrector": Sampler(predictor_corrector, evaluations=2),
}
