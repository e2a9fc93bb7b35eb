"""The variational autoencoder: its likelihood of 8-bit pixels, its loss, and its bounds on log p(x).

    log p(x | y) >= ELBO = E_q[log p(x | z, y)] - KL(q(z | x, y) || p(z | y))

x is an image of 8-bit pixels, y its class. Pixels have probabilities, not densities, so the bound in bits per dimension
can be compared with that of other models of 8-bit images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.baselines.vae_net import Vae
from diffusion.data import to_float
from diffusion.gaussian import Gaussian
from diffusion.objective import Draws, Loss
from diffusion.randomness import image_noise
from diffusion.runtime import autocast, freeze
from diffusion.tensors import Description, Tensors, load_model, with_weights
from diffusion.transfer import sent

HALF_BIN = 1 / 255  # half the distance between neighbouring pixel values, in units of [-1, 1]
MIN_LOG_SCALE = -7.0


class Logistics(NamedTuple):
    """A mixture of K logistic distributions for every pixel: (B, K, C, H, W) each."""

    logits: Tensor  # of the weights
    mean: Tensor
    log_scale: Tensor

    def log_probability(self, x: Tensor) -> Tensor:
        """log p of 8-bit images x (B, C, H, W) in [-1, 1] as the mass of their bins (Salimans et al. 2017, eq. 2).

        The first and last bins extend to infinity, so the 256 values of a pixel sum to 1. Returns (B,) in nats.
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
        """The mean image (B, C, H, W) in [-1, 1]; anything beyond belongs to the first or last bin."""
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
    """A network with the distributions that its outputs parametrise."""

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
        """Images (B, C, H, W) in [-1, 1] for standard normal draws (B, Z) and labels (B,): the mean of p(x | z, y).

        A draw from it instead would add noise to every pixel.
        """
        return self.pixels(self.prior(label).sample(eps), label).expectation()

    def reconstruct(self, x: Tensor, label: Tensor) -> Tensor:
        """Encode images (B, C, H, W) to the mean of their latent, and decode it."""
        return self.pixels(self.posterior(x, label).mean, label).expectation()


def vae_loss(model: VaeModel, *, kl_weight: float, kl_warmup_steps: int) -> Loss:
    """The loss of a VAE on images and their labels; it logs the negative ELBO and the KL, in bits per dimension.

    In what is descended, the KL counts `kl_weight` times (Higgins et al. 2017, eq. 4), and less over the first
    `kl_warmup_steps`, so that the latent is in use before it has its price (Sonderby et al. 2016, section 2.3).
    """

    def loss(x: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        per_bit = math.log(2) * x[0].numel()
        posterior = model.posterior(x, label)
        eps = draws.normal(posterior.mean.shape[1:], of="noise")
        distortion = -model.pixels(posterior.sample(eps), label).log_probability(x).mean() / per_bit
        rate = posterior.kl_to(model.prior(label)).sum(1).mean() / per_bit
        weight = kl_weight * min(1.0, (draws.step + 1) / (kl_warmup_steps + 1))
        return distortion + weight * rate, {"loss": distortion + rate, "kl": rate}

    return loss


class Bounds(NamedTuple):
    """For every image, in nats: log p(x) >= importance >= elbo, and the KL term of the elbo; (B,) each."""

    elbo: Tensor
    importance: Tensor
    kl: Tensor


@torch.no_grad()
def bounds(model: VaeModel, images: Tensor, labels: Tensor, num_samples: int, seed: int, batch_size: int) -> Bounds:
    """Bounds of uint8 images (N, C, H, W) with labels (N,), from `num_samples` latents each, on the CPU."""
    device, parts = next(model.net.parameters()).device, []
    for index in torch.arange(len(images)).split(batch_size):
        x, label = to_float(sent(images[index], device)), sent(labels[index], device)
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


def load_vae(path: Path, device: torch.device, precision: str) -> tuple[VaeModel, Description]:
    """Load the VAE in a file, ready to sample with, and its description.

    Raises ValueError for a file that is not a VAE of this project.
    """

    def build(tensors: Tensors, description: Description) -> VaeModel:
        return VaeModel(freeze(with_weights(Vae(**description["net"]), tensors), device), precision)

    return load_model(path, "vae", build)
