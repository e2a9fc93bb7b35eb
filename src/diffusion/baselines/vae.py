"""The variational autoencoder: its likelihood of 8-bit pixels, its bounds on log p(x), and its training.

    log p(x | y) >= ELBO = E_q[log p(x | z, y)] - KL(q(z | x, y) || p(z | y))

x is an image of 8-bit pixels, y its class. Pixels have probabilities, not densities, so that the bound in bits per
dimension compares with that of other models of 8-bit images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.baselines.vae_net import Vae
from diffusion.data import to_float
from diffusion.gaussian import Gaussian
from diffusion.randomness import generator, image_noise
from diffusion.runtime import autocast, frozen
from diffusion.tensors import described
from diffusion.training.batches import batch_indices
from diffusion.training.optimiser import Ema, Optimiser

HALF_BIN = 1 / 255  # half the distance of two neighbouring pixel values, in units of [-1, 1]
MIN_LOG_SCALE = -7.0


class Logistics(NamedTuple):
    """A mixture of K logistics for every pixel: (B, K, C, H, W) each."""

    logits: Tensor  # of the weights
    mean: Tensor
    log_scale: Tensor

    def log_probability(self, x: Tensor) -> Tensor:
        """log p of 8-bit images x (B, C, H, W) in [-1, 1] as the mass of their bins (Salimans et al. 2017, eq. 2).

        The first and the last bin reach to infinity, so the 256 values of a pixel sum to 1. Returns (B,) nats.
        """
        inverse_scale = torch.exp(-self.log_scale.clamp(min=MIN_LOG_SCALE))
        centred, x = x[:, None] - self.mean, x[:, None]
        above = inverse_scale * (centred + HALF_BIN)
        below = inverse_scale * (centred - HALF_BIN)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * HALF_BIN * inverse_scale))
        of_each = torch.where(x < -1 + HALF_BIN, F.logsigmoid(above), inside)
        of_each = torch.where(x > 1 - HALF_BIN, F.logsigmoid(-below), of_each)
        return torch.logsumexp(of_each + self.logits.log_softmax(1), dim=1).flatten(1).sum(1)

    def expectation(self) -> Tensor:
        """The mean image (B, C, H, W) in [-1, 1]; what lies beyond belongs to the first and the last bin."""
        return (self.logits.softmax(1) * self.mean.clamp(-1, 1)).sum(1)


def log_weight(posterior: Gaussian, prior: Gaussian, log_likelihood: Callable[[Tensor], Tensor], eps: Tensor) -> Tensor:
    """log p(x | z) p(z) / q(z | x) at z = sample(eps), (B,): its mean is the ELBO (Burda et al. 2016, eq. 3)."""
    z = posterior.sample(eps)
    return log_likelihood(z) + prior.log_density(z).sum(1) - posterior.log_density(z).sum(1)


def importance_bound(log_weights: Tensor) -> Tensor:
    """log of the mean weight (B,) from k log weights (k, B): the IWAE bound (Burda et al. 2016, eq. 8)."""
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))


@dataclass(frozen=True, eq=False)
class VaeModel:
    """A network with the distributions that its outputs are parameters of."""

    net: Vae
    precision: str = "fp32"

    def prior(self, label: Tensor) -> Gaussian:
        """p(z | y) of labels (B,)."""
        return Gaussian(*self.net.prior(label))

    def posterior(self, x: Tensor, label: Tensor) -> Gaussian:
        """q(z | x, y) of images (B, C, H, W) in [-1, 1] and labels (B,)."""
        with autocast(x.device, self.precision):
            mean, log_variance = self.net.encode(x, label)
        return Gaussian(mean.float(), log_variance.float())

    def pixels(self, z: Tensor, label: Tensor) -> Logistics:
        """p(x | z, y) of latents (B, Z) and labels (B,)."""
        with autocast(z.device, self.precision):
            parameters = self.net.decode(z, label)
        return Logistics(*(part.float() for part in parameters))

    def __call__(self, eps: Tensor, label: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] for standard normal draws (B, Z) and labels (B,): the mean of p(x | z, y),
        since a draw from it has the noise of every pixel."""
        return self.pixels(self.prior(label).sample(eps), label).expectation()

    def reconstruct(self, x: Tensor, label: Tensor) -> Tensor:
        """Images (B, C, H, W) to the mean of their latent and back."""
        return self.pixels(self.posterior(x, label).mean, label).expectation()


def vae_update(
    model: VaeModel,
    ema: Ema,
    optimiser: Optimiser,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    kl_weight: float,
    kl_warmup_steps: int,
    seed: int,
) -> Callable[[int], dict[str, Tensor]]:
    """The training step of a VAE for `fit`: images uint8 (N, C, H, W) and labels (N,), both on the device.

    The loss is the negative ELBO in bits per dimension. The gradient is that of another: there the KL counts
    `kl_weight` times (Higgins et al. 2017, eq. 4), less over the first `kl_warmup_steps`, so that the latent is in use
    before it has its price (Sonderby et al. 2016, section 2.3).
    """
    device, per_bit = images.device, math.log(2) * images[0].numel()

    def update(step: int) -> dict[str, Tensor]:
        index = batch_indices(len(images), batch_size, seed, "vae", step, device)
        x, label = to_float(images[index]), labels[index]
        posterior = model.posterior(x, label)
        eps = torch.randn(posterior.mean.shape, generator=generator(seed, "vae/noise", step, device), device=device)
        distortion = -model.pixels(posterior.sample(eps), label).log_probability(x).mean() / per_bit
        rate = posterior.kl_to(model.prior(label)).sum(1).mean() / per_bit
        weight = kl_weight * min(1.0, (step + 1) / (kl_warmup_steps + 1))
        norm_and_rate = optimiser.descend(distortion + weight * rate)
        ema.update(model.net, step)
        return {"loss": (distortion + rate).detach(), "kl": rate.detach(), **norm_and_rate}

    return update


class Bounds(NamedTuple):
    """Of every image, in nats: log p(x) >= importance >= elbo, and the KL that is in the elbo; (B,) each."""

    elbo: Tensor
    importance: Tensor
    kl: Tensor


@torch.no_grad()
def bounds(model: VaeModel, images: Tensor, labels: Tensor, num_samples: int, seed: int, batch_size: int) -> Bounds:
    """The bounds of uint8 images (N, C, H, W) with labels (N,), from `num_samples` latents each, on the CPU."""
    device, parts = next(model.net.parameters()).device, []
    for index in torch.arange(len(images)).split(batch_size):
        x, label = to_float(images[index]).to(device), labels[index].to(device)
        posterior, prior = model.posterior(x, label), model.prior(label)
        noise = image_noise(seed, "vae/bounds", index.tolist(), posterior.mean.shape[1:], device)
        weights = torch.stack(
            [
                log_weight(posterior, prior, lambda z: model.pixels(z, label).log_probability(x), eps)  # noqa: B023
                for eps in islice(noise, num_samples)
            ]
        )
        parts.append((weights.mean(0).cpu(), importance_bound(weights).cpu(), posterior.kl_to(prior).sum(1).cpu()))
    return Bounds(*(torch.cat(part) for part in zip(*parts, strict=True)))


def load_vae(path: Path, device: torch.device, precision: str) -> tuple[VaeModel, dict[str, Any]]:
    """The VAE in a file, ready to sample with, and its description.

    Raises ValueError for a file that is not a VAE of this project.
    """
    with described(path, "vae") as (tensors, description):
        net = Vae(**description["net"])
        net.load_state_dict(tensors)
    return VaeModel(frozen(net, device), precision), description
