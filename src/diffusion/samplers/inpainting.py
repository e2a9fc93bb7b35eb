"""Inpainting: images some of whose pixels are given, by a denoiser that was never trained for it."""

from collections.abc import Iterator
from itertools import chain, pairwise

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Step, Walk
from diffusion.samplers.table import SamplerSetting
from diffusion.schedule import NoiseSchedule

STRETCHES, PASSES = 10, 5


def left_half(width: int) -> Tensor:
    """The mask (W,) that gives the left half of an image."""
    return torch.arange(width) < width // 2


def given(denoise: Denoise, image: Tensor, mask: Tensor) -> Denoise:
    """The same with the pixels of `image` where `mask` is true: a sampler then noises and denoises them as known."""
    return lambda x_t, t: torch.where(mask, image, denoise(x_t, t))


def inpainted(
    setting: SamplerSetting, image: Tensor, mask: Tensor, stretches: int = STRETCHES, passes: int = PASSES
) -> Walk:
    """A sampler of images that have the pixels of `image` where `mask` is true (RePaint, Lugmayr et al. 2022).

    Both broadcast to (B, C, H, W) and are on the denoiser's device. So that what is drawn agrees with what is given,
    each of so many stretches of the steps is taken `passes` times (algorithm 1): from its end x_t returns to its
    beginning by the forward process. More passes over shorter stretches come nearer to the distribution given the
    known pixels, except for the shares of modes that lie far apart: which of them is drawn is decided at high noise,
    where x_t tells little of the known pixels.
    """

    def walk(denoise: Denoise, schedule: NoiseSchedule, normals: Iterator[Tensor]) -> Iterator[Step]:
        knowing, times, x_t = given(denoise, image, mask), setting.times(schedule), next(normals)
        bounds = sorted({round(part * setting.steps / stretches) for part in range(stretches + 1)})
        for first, last in pairwise(bounds):
            stretch = times[first : last + 1]
            ((start, end),) = schedule.steps([stretch[0], stretch[-1]])
            kept = start.alpha_bar / end.alpha_bar  # of the variance, on the way back
            for number in range(passes):
                if number:
                    x_t = kept**0.5 * x_t + (1 - kept) ** 0.5 * next(normals)
                for step in setting.along(stretch, knowing, schedule, chain([x_t], normals)):
                    x_t = torch.where(mask, image, step.x_t) if step.t == 0 else step.x_t
                    yield step._replace(x_t=x_t)

    return walk
