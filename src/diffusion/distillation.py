"""Progressive distillation: a student takes in one DDIM step what its teacher takes in two (Salimans & Ho 2022).

Repeated with the student as the next teacher, it halves the number of network calls each time: 16, 8, 4, 2, 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.data import to_float
from diffusion.denoiser import Denoiser
from diffusion.randomness import generator
from diffusion.schedule import NoiseSchedule, per_sample
from diffusion.target import TARGETS, eps_from_x_0
from diffusion.training.batches import batch_indices
from diffusion.training.optimiser import Ema, Optimiser


def distillation_update(
    student: Denoiser,
    teacher: Denoiser,
    num_steps: int,
    ema: Ema,
    optimiser: Optimiser,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    seed: int,
) -> Callable[[int], dict[str, Tensor]]:
    """The training step, for `fit`, of a student of `num_steps` steps: its teacher takes twice as many.

    images uint8 (N, C, H, W) and labels (N,), both on the device. Times are those that DDIM with evenly spaced steps
    visits, so a student is good for this number of steps and no other. The loss is the squared error of the target.
    """
    schedule, target = student.schedule, TARGETS[student.target]

    def update(step: int) -> dict[str, Tensor]:
        purpose = f"distil/{num_steps}"
        index = batch_indices(len(images), batch_size, seed, purpose, step, images.device)
        draw = generator(seed, f"{purpose}/noise", step, images.device)
        x_0, label = to_float(images[index]), labels[index]
        eps = torch.randn(x_0.shape, generator=draw, device=x_0.device)
        steps_left = torch.randint(1, num_steps + 1, (batch_size,), generator=generator(seed, f"{purpose}/t", step))
        t, middle, end = ((steps_left - share) * schedule.timesteps / num_steps for share in (0.0, 0.5, 1.0))

        x_t = schedule.q_sample(x_0, t, eps)
        with torch.no_grad():
            x_middle = ddim_step(schedule, x_t, teacher(x_t, t, label).clamp(-1, 1), t, middle)
            x_end = ddim_step(schedule, x_middle, teacher(x_middle, middle, label).clamp(-1, 1), middle, end)
            signal, noise = (per_sample(c, x_t) for c in schedule.coefficients(t))
            wanted = one_step_x_0(schedule, x_t, x_end, t, end)
            wanted = target.value(wanted, eps_from_x_0(x_t, wanted, signal, noise), signal, noise)
        loss = F.mse_loss(student.predict(x_t, t, label), wanted)
        norm_and_rate = optimiser.descend(loss)
        ema.update(student.net, step)
        return {"loss": loss.detach(), **norm_and_rate}

    return update


def ddim_step(schedule: NoiseSchedule, x_t: Tensor, x_0: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """x_s (B, ...), by DDIM without noise from times t to s (B,), given estimates of x_0."""
    signal, noise = (per_sample(c, x_t) for c in schedule.coefficients(t))
    return schedule.q_sample(x_0, s, eps_from_x_0(x_t, x_0, signal, noise))


def one_step_x_0(schedule: NoiseSchedule, x_t: Tensor, x_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The x_0 (B, ...) with which `ddim_step` from x_t ends at x_s (Salimans & Ho 2022, appendix G)."""
    (signal_t, noise_t), (signal_s, noise_s) = (schedule.coefficients(time) for time in (t, s))
    ratio = noise_s / noise_t
    return (x_s - per_sample(ratio, x_t) * x_t) / per_sample(signal_s - ratio * signal_t, x_t)
