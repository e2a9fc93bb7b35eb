"""MeanFlow: a network trained for nothing but few steps, which learns average velocities (Geng et al. 2025).

On the straight path z_s = (1 - s) x_0 + s eps, s = t / T, velocity v = eps - x_0 leads from images to noise. The
average velocity over an interval from r to s,

    u(z_s, r, s) = 1 / (s - r) * integral of v(z_tau, tau) over tau in [r, s],

goes from s to r in one step: z_r = z_s - (s - r) u(z_s, r, s), and from noise to an image with u(eps, 0, 1). It obeys

    u(z_s, r, s) = v(z_s, s) - (s - r) * d/ds u(z_s, r, s)

along the path (arXiv 2505.13447, eq. 6), and this is what the network is trained towards: no teacher is needed.
"""

import copy
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffusion.denoiser import EMBEDDED_TIMES
from diffusion.nets.attention import zero_weights
from diffusion.nets.unet import TimeEmbedding
from diffusion.objective import Draws, Loss
from diffusion.runtime import autocast
from diffusion.schedule import per_sample

PATH = "flow"  # the schedule and the target of networks `with_steps`
# as the paper has them for ImageNet (table 1)
MOVING = 0.25  # the share of a batch with r < s; in the rest r = s, which is plain flow matching
TIME_MEAN, TIME_STD = -0.4, 1.0  # of the logits of r and s, which are normal
SOFTENING, POWER = 1e-3, 1.0  # of the adaptive weight 1 / (squared error + SOFTENING)^POWER


class IntervalEmbedding(nn.Module):
    """The embedding of a time, and added to it that of the length of an interval before it, at first zero.

    Both are made of slow sines and cosines alone: of a fast one the derivative is large wherever the network is not
    indifferent to it, and so is that of u, whose target then is noise.
    """

    def __init__(self, time: TimeEmbedding) -> None:
        super().__init__()
        self.time = copy.deepcopy(time)
        self.time.frequency.masked_fill_(fast(time), 0.0)
        self.length = copy.deepcopy(self.time)
        zero_weights(cast(nn.Linear, self.length.layers[-1]))

    def forward(self, times: Tensor) -> Tensor:
        """(B, dim) for times and lengths (B, 2), both in [0, 1000]."""
        embedded: Tensor = self.time(times[:, 0]) + self.length(times[:, 1])
        return embedded

    @torch.no_grad()
    def with_length(self, length: float) -> TimeEmbedding:
        """The embedding of times alone, where the length is always the same one: it becomes part of a bias, and so do
        the cosines of fast features, which are 1 here."""
        plain, columns = copy.deepcopy(self.time), self.time.frequency == 0
        plain.frequency.copy_(TimeEmbedding(8 * len(columns)).frequency)
        first, last = (cast(nn.Linear, plain.layers[k]) for k in (0, -1))
        last.bias.add_(self.length(torch.tensor([length], device=last.bias.device))[0])
        first.bias.add_(first.weight[:, : len(columns)][:, columns].sum(dim=1))
        first.weight[:, columns.repeat(2)] = 0
        return plain


def fast(time: TimeEmbedding) -> Tensor:
    """Which features of an embedding turn more than once on the way from t = 0 to T."""
    return time.frequency * EMBEDDED_TIMES > 2 * math.pi


def with_intervals(net: nn.Module) -> nn.Module:
    """A copy of a network of `diffusion.nets.table` that is told an interval: it takes times (B, 2), see
    `IntervalEmbedding`."""
    net = copy.deepcopy(net)
    net.time = IntervalEmbedding(cast(TimeEmbedding, net.time))
    return net


def with_steps(net: nn.Module, num_steps: int) -> nn.Module:
    """A copy of a network `with_intervals` that is a plain one again, for samplers with so many equal steps.

    Its x_0 under schedule and target `flow` is that for which a step of DDIM is one along the average velocity.
    """
    net = copy.deepcopy(net)
    net.time = cast(IntervalEmbedding, net.time).with_length(EMBEDDED_TIMES / num_steps)
    return net


def average_velocity(
    net: nn.Module, z: Tensor, r: Tensor, s: Tensor, condition: Tensor, precision: str = "fp32"
) -> Tensor:
    """u(z_s, r, s) (B, ...) fp32 by a network `with_intervals`, 0 <= r <= s <= 1 (B,).

    The network sees z_s with the variance of x_t, as under schedule `flow`.
    """
    x_t = z / per_sample(((1 - s).square() + s.square()).sqrt(), z)
    times = EMBEDDED_TIMES * torch.stack([s, s - r], dim=1)
    with autocast(z.device, precision):
        return net(x_t.contiguous(memory_format=torch.channels_last), times, condition).float()


def change_along_path(
    net: nn.Module, z: Tensor, velocity: Tensor, r: Tensor, s: Tensor, condition: Tensor, precision: str = "fp32"
) -> Tensor:
    """d/ds u(z_s, r, s) (B, ...) where z_s moves with a velocity (B, ...) and r stands still (eq. 8); no gradients."""

    def u(z: Tensor, s: Tensor) -> Tensor:
        return average_velocity(net, z, r, s, condition, precision)

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward-mode derivative
        change: Tensor = jvp(u, (z, s), (velocity, torch.ones_like(s)))[1]
    return change


def mean_flow_loss(net: nn.Module, precision: str = "fp32") -> Loss:
    """The loss of a network `with_intervals` on images and their conditions (algorithm 1, eq. 9-11), without guidance.

    Logged is the squared error before its adaptive weight, mean over pixels.
    """

    def loss(x_0: Tensor, condition: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        eps = draws.normal(x_0.shape[1:], of="noise")
        times = (TIME_MEAN + TIME_STD * draws.normal((2,), of="t")).sigmoid()
        row = draws.share(torch.arange(draws.batch_size, device=x_0.device))
        moving = row * MOVING % 1 < MOVING  # every fourth, so that every part of a batch has its share
        s, r = times.amax(dim=1), times.amin(dim=1)
        s, r = torch.where(moving, s, times[:, 0]), torch.where(moving, r, times[:, 0])
        velocity = eps - x_0
        z = x_0 + per_sample(s, x_0) * velocity

        target = velocity.clone()
        part = z[moving], velocity[moving], r[moving], s[moving], condition[moving]
        target[moving] -= per_sample(s - r, x_0)[moving] * change_along_path(net, *part, precision)
        squares = (average_velocity(net, z, r, s, condition, precision) - target).square().flatten(1)
        total = squares.sum(dim=1)  # (B,)
        weighted = (total / (total.detach() + SOFTENING) ** POWER).mean()
        return weighted, {"loss": squares.detach().mean()}

    return loss
