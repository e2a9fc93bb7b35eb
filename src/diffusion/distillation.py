"""Progressive distillation: a student takes in one DDIM step what its teacher takes in two (Salimans & Ho 2022).

Repeated with the student as the next teacher, it halves the number of network evaluations each time: 16, 8, 4, 2, 1.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.denoiser import Denoiser
from diffusion.objective import Draws, Loss
from diffusion.schedule import NoiseSchedule, per_sample
from diffusion.target import TARGETS, eps_from_x_0


def distillation_loss(student: Denoiser, teacher: Denoiser, num_steps: int) -> Loss:
    """The loss of a student that samples in `num_steps` steps, from a teacher that takes twice as many.

    It is the squared error of the target, on images and their conditions. Times are those that DDIM visits with evenly
    spaced steps, so a student works for this number of steps only.
    """
    schedule, target = student.schedule, TARGETS[student.target]

    def loss(x_0: Tensor, condition: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        eps = draws.normal(x_0.shape[1:], of="noise")
        on_cpu = draws.stream("t", torch.device("cpu"))  # where the schedule is
        steps_left = draws.share(torch.randint(1, num_steps + 1, (draws.batch_size,), generator=on_cpu))
        t, middle, end = ((steps_left - share) * schedule.timesteps / num_steps for share in (0.0, 0.5, 1.0))

        x_t = schedule.q_sample(x_0, t, eps)
        with torch.no_grad():
            x_middle = ddim_step(schedule, x_t, teacher(x_t, t, condition).clamp(-1, 1), t, middle)
            x_end = ddim_step(schedule, x_middle, teacher(x_middle, middle, condition).clamp(-1, 1), middle, end)
            signal, noise = (per_sample(c, x_t) for c in schedule.coefficients(t))
            wanted = one_step_x_0(schedule, x_t, x_end, t, end)
            wanted = target.value(wanted, eps_from_x_0(x_t, wanted, signal, noise), signal, noise)
        error = F.mse_loss(student.predict(x_t, t, condition), wanted)
        return error, {"loss": error}

    return loss


def ddim_step(schedule: NoiseSchedule, x_t: Tensor, x_0: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """x_s (B, ...), by DDIM with eta = 0 from times t to s (B,), given estimates of x_0 (Song et al. 2021, eq. 12)."""
    signal, noise = (per_sample(c, x_t) for c in schedule.coefficients(t))
    return schedule.q_sample(x_0, s, eps_from_x_0(x_t, x_0, signal, noise))


def one_step_x_0(schedule: NoiseSchedule, x_t: Tensor, x_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The x_0 (B, ...) for which `ddim_step` from x_t ends at x_s (Salimans & Ho 2022, appendix G)."""
    (signal_t, noise_t), (signal_s, noise_s) = (schedule.coefficients(time) for time in (t, s))
    ratio = noise_s / noise_t
    return (x_s - per_sample(ratio, x_t) * x_t) / per_sample(signal_s - ratio * signal_t, x_t)
