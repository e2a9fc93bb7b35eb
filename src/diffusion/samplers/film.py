"""A sampler's whole way from noise to image, for animations."""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Step, Walk
from diffusion.schedule import NoiseSchedule

FRAMES = 60  # after the start noise, at most


def filmed(walk: Walk, num_steps: int) -> Walk:
    """A walk of a single step, whose x_t (B, F, ...) are those that `walk` passes through in its `num_steps` steps.

    The first is the start noise x_T and the last the image; where there are more than FRAMES steps, the others are
    every second, third, ... one, counted from the end.
    """
    every = -(-num_steps // FRAMES)

    def film(denoise: Denoise, schedule: NoiseSchedule, normals: Iterator[Tensor]) -> Iterator[Step]:
        frames = [next(normals)]
        for k, step in enumerate(walk(denoise, schedule, chain(frames[:1], normals)), start=1):
            if (num_steps - k) % every == 0:
                frames.append(step.x_t)
        yield Step(step.t, torch.stack(frames, dim=1), step.x_0)

    return film
