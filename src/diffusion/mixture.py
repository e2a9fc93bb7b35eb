"""Mixtures of Gaussians, where density and score are known at every noise level, and the training of a net on one.

Points of the plane go through the same `Denoiser` and samplers as images do: as images of 1 x 1 pixel with a channel
per dimension, (B, D, 1, 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.denoiser import Denoise, Denoiser
from diffusion.loss import TIME_SHARES, denoising_loss, loss_tables, stratified_times
from diffusion.randomness import generator
from diffusion.schedule import NoiseSchedule
from diffusion.target import x_0_from_score
from diffusion.training.optimiser import Ema, Optimiser


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
        """grad log p(x) (N, D): every component pulls towards its mean, by its share in having made x."""
        share = self.log_components(x).softmax(1)  # (N, K)
        pull = (self.mean - x[:, None]) / self.std[:, None] ** 2  # (N, K, D)
        return (share[:, :, None] * pull).sum(1)

    def sample(self, number: int, draw: torch.Generator) -> Tensor:
        """(number, D) points, of the dtype of the mixture."""
        component = torch.multinomial(self.weight, number, replacement=True, generator=draw)
        eps = torch.randn(number, self.mean.shape[1], generator=draw, dtype=self.mean.dtype)
        return self.mean[component] + self.std[component, None] * eps


def ring() -> GaussianMixture:
    """Eight equal components on a circle: the usual toy, easy but for its number of modes."""
    angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
    means = torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixture(torch.full((8,), 1 / 8, dtype=torch.float64), means, torch.full((8,), 0.1).double())


def uneven() -> GaussianMixture:
    """Three components of different weight and width, the lightest of them the narrowest."""
    means = torch.tensor([[-0.8, -0.5], [0.8, -0.4], [0.1, 0.9]], dtype=torch.float64)
    weights, stds = ([0.6, 0.3, 0.1], [0.3, 0.15, 0.05])
    return GaussianMixture(torch.tensor(weights).double(), means, torch.tensor(stds).double())


MIXTURES: dict[str, Callable[[], GaussianMixture]] = {"ring": ring, "uneven": uneven}


def exact_denoise(mixture: GaussianMixture, schedule: NoiseSchedule) -> Denoise:
    """E[x_0 | x_t] of points (B, D, 1, 1) from the closed-form score."""

    def denoise(x_t: Tensor, t: float) -> Tensor:
        signal, noise = schedule.coefficients(t)
        score = mixture.noised(signal, noise).score(x_t.flatten(1).double())
        return x_0_from_score(x_t, score.view_as(x_t).to(x_t.dtype), signal, noise)

    return denoise


def mixture_update(
    denoiser: Denoiser, ema: Ema, optimiser: Optimiser, mixture: GaussianMixture, batch_size: int, seed: int
) -> Callable[[int], dict[str, Tensor]]:
    """The training step, for `fit`, of a denoiser of points, each batch fresh from the mixture."""
    device = denoiser.device
    shares = TIME_SHARES["cosine"](denoiser.schedule).float().to(device)
    tables = loss_tables(denoiser.schedule, denoiser.target, "none", device)
    no_label = torch.zeros(batch_size, dtype=torch.int64, device=device)

    def update(step: int) -> dict[str, Tensor]:
        draw = generator(seed, "mixture/points", step)
        x_0 = mixture.sample(batch_size, draw).float().view(batch_size, -1, 1, 1).to(device)
        eps = torch.randn(x_0.shape, generator=draw).to(device)
        t = stratified_times(batch_size, shares, generator(seed, "mixture/times", step, device))
        loss = denoising_loss(denoiser, tables, x_0, no_label, t, eps)
        norm_and_rate = optimiser.descend(loss)
        ema.update(denoiser.net, step)
        return {"loss": loss.detach(), **norm_and_rate}

    return update
