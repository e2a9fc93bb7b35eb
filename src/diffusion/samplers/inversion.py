"""DDIM inversion: from an image to the noise from which DDIM makes it, and back (Song et al. 2021, section 4.3)."""

from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.ddim import ddim
from diffusion.samplers.ode import FIRST_TIME
from diffusion.samplers.step import final
from diffusion.schedule import NoiseSchedule, trailing_times


def encode(denoise: Denoise, schedule: NoiseSchedule, x_1: Tensor, num_steps: int) -> Tensor:
    """The noise x_T (B, ...) of images at t = 1: the steps of DDIM in reverse order.

    It cannot start at t = 0, where eps has no value. The denoiser must not clip: what is cut off cannot come back.
    """
    times = [max(t, FIRST_TIME) for t in reversed(trailing_times(schedule, num_steps))]
    return final(ddim(denoise, schedule, times, iter([x_1])))


def decode(denoise: Denoise, schedule: NoiseSchedule, x_last: Tensor, num_steps: int) -> Tensor:
    """The images (B, ...) that DDIM makes from the noise x_T."""
    return final(ddim(denoise, schedule, trailing_times(schedule, num_steps), iter([x_last])))


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The point between a and b (B, ...) at `share` of the angle from a: as long as noise is, unlike their mean."""
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    cosine = (flat_a * flat_b).sum(1) / (flat_a.norm(dim=1) * flat_b.norm(dim=1))
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()  # (B,)
    weights = (((1 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
    first, second = (weight.view(-1, *[1] * (a.ndim - 1)) for weight in weights)
    return first * a + second * b
