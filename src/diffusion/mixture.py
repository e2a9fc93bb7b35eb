"""Mixtures of Gaussians, whose density and score are known at every noise level, and the loss of a net on one.

Points go through the same `Denoiser` and samplers as images: as images of 1 x 1 pixel with a channel per dimension,
(B, D, 1, 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.denoiser import Denoise, Denoiser
from diffusion.loss import TIME_SHARES, loss_tables, times_at, weighted_error
from diffusion.objective import Draws, Loss
from diffusion.schedule import NoiseSchedule
from diffusion.target import x_0_from_score


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """sum_k weight_k N(mean_k, std_k^2 I)."""

    weight: Tensor  # (K,), sums to 1
    mean: Tensor  # (K, D)
    std: Tensor  # (K,)

    def noised(self, signal: Tensor, noise: Tensor) -> "GaussianMixture":
        """The distribution of x_t = signal * x_0 + noise * eps: a mixture again."""
        return GaussianMixture(self.weight, signal * self.mean, (signal**2 * self.std**2 + noise**2).sqrt())

    def log_components(self, x: Tensor) -> Tensor:
        """log(weight_k N(x; mean_k, std_k^2 I)) (N, K) at points (N, D)."""
        square = (x[:, None] - self.mean).square().sum(-1)  # (N, K)
        dimensions = x.shape[1]
        normaliser = dimensions * (self.std.log() + math.log(2 * math.pi) / 2)
        return self.weight.log() - square / (2 * self.std**2) - normaliser

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) (N,) at points (N, D)."""
        return self.log_components(x).logsumexp(1)

    def score(self, x: Tensor) -> Tensor:
        """grad log p(x) (N, D): every component pulls towards its mean, by its posterior probability given x."""
        share = self.log_components(x).softmax(1)  # (N, K)
        pull = (self.mean - x[:, None]) / self.std[:, None] ** 2  # (N, K, D)
        return (share[:, :, None] * pull).sum(1)

    def sample(self, number: int, generator: torch.Generator) -> Tensor:
        """Draw points (number, D), in the dtype of the mixture."""
        component = torch.multinomial(self.weight, number, replacement=True, generator=generator)
        eps = torch.randn(number, self.mean.shape[1], generator=generator, dtype=self.mean.dtype)
        return self.mean[component] + self.std[component, None] * eps


def ring() -> GaussianMixture:
    """Eight equal components on a circle: the usual toy, easy except for its number of modes."""
    angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
    means = torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixture(torch.full((8,), 1 / 8, dtype=torch.float64), means, torch.full((8,), 0.1).double())


def uneven() -> GaussianMixture:
    """Three components of different weights and widths; the lightest is the narrowest."""
    means = torch.tensor([[-0.8, -0.5], [0.8, -0.4], [0.1, 0.9]], dtype=torch.float64)
    weights, stds = ([0.6, 0.3, 0.1], [0.3, 0.15, 0.05])
    return GaussianMixture(torch.tensor(weights).double(), means, torch.tensor(stds).double())


MIXTURES: dict[str, Callable[[], GaussianMixture]] = {"ring": ring, "uneven": uneven}


def exact_denoise(mixture: GaussianMixture, schedule: NoiseSchedule) -> Denoise:
    """E[x_0 | x_t] of points (B, D, 1, 1) from the closed-form score."""

    def denoise(x_t: Tensor, t: Tensor | float) -> Tensor:
        signal, noise = schedule.coefficients(t)
        if signal == 0:  # x_t says nothing of x_0
            return (mixture.weight @ mixture.mean).to(x_t).view(1, -1, 1, 1).expand_as(x_t)
        score = mixture.noised(signal, noise).score(x_t.flatten(1).double())
        return x_0_from_score(x_t, score.view_as(x_t).to(x_t.dtype), signal, noise)

    return denoise


def mixture_loss(denoiser: Denoiser, mixture: GaussianMixture) -> Loss:
    """The loss of a denoiser of points, on as many fresh points of the mixture as the batch has (ignored) items.

    Batches are on the CPU, as the mixture is; times have the distribution `cosine`.
    """
    shares = TIME_SHARES["cosine"](denoiser.schedule).float()
    tables = loss_tables(denoiser.schedule, denoiser.target, "none", denoiser.device)

    def loss(items: Tensor, conditions: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        points = draws.share(mixture.sample(draws.batch_size, draws.stream("points")))
        x_0 = points.float().view(len(items), -1, 1, 1)
        eps = draws.normal(x_0.shape[1:], of="points")
        t = times_at(draws.stratified(draws.uniform((), of="times")), shares)
        error = weighted_error(denoiser, tables, *(part.to(denoiser.device) for part in (x_0, conditions, t, eps)))
        return error, {"loss": error}

    return loss
