"""The generative adversarial network: two networks that train each other, with the usual stabilisers.

The generator learns to make images that the discriminator takes for real, the discriminator to tell them apart
(Goodfellow et al. 2014, section 3). Non-saturating loss, gradient penalty R1 (Mescheder et al. 2018), EMA of the
generator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.baselines.gan_nets import Generator
from diffusion.data import to_float
from diffusion.randomness import generator
from diffusion.runtime import autocast, frozen
from diffusion.tensors import described
from diffusion.training.batches import batch_indices
from diffusion.training.optimiser import Ema, Optimiser


def discriminator_loss(of_real: Tensor, of_fake: Tensor) -> Tensor:
    """Logits (B,) each: -log D(real) - log(1 - D(fake)) (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-of_real).mean() + F.softplus(of_fake).mean()


def generator_loss(of_fake: Tensor) -> Tensor:
    """Logits (B,): -log D(fake), whose gradient does not vanish where D is sure (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-of_fake).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor, label: Tensor) -> Tensor:
    """Mean squared norm of the gradient of the logit at real images (Mescheder et al. 2018, eq. 9, for weight 2)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real, label).sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


@dataclass(frozen=True, eq=False)
class GanModel:
    """A generator, called in its precision."""

    net: nn.Module
    precision: str = "fp32"

    def __call__(self, z: Tensor, label: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] for latents (B, Z) and labels (B,)."""
        with autocast(z.device, self.precision):
            return self.net(z, label).float()


def gan_update(
    model: GanModel,
    discriminator: nn.Module,
    ema: Ema,
    optimisers: tuple[Optimiser, Optimiser],
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    latent: int,
    r1_weight: float,
    r1_every: int,
    seed: int,
) -> Callable[[int], dict[str, Tensor]]:
    """The training step of a GAN for `fit`: first the discriminator's, then the generator's, on the same classes.

    images uint8 (N, C, H, W) and labels (N,), both on the device; `optimisers` are the generator's and the
    discriminator's. The penalty is taken at every `r1_every`-th step and counts as often (Karras et al. 2020, appendix
    B).
    """
    device = images.device
    of_generator, of_discriminator = optimisers

    def judged(x: Tensor, label: Tensor) -> Tensor:
        with autocast(device, model.precision):
            return discriminator(x, label).float()

    def update(step: int) -> dict[str, Tensor]:
        index = batch_indices(len(images), batch_size, seed, "gan", step, device)
        draw = generator(seed, "gan/draw", step)
        real, label = to_float(images[index]), labels[index]
        first, second = torch.randn(2, batch_size, latent, generator=draw).to(device)

        with torch.no_grad():
            fake = model(first, label)
        loss = discriminator_loss(judged(real, label), judged(fake, label))
        penalty = torch.zeros((), device=device)
        if step % r1_every == 0:
            penalty = r1_every * r1_weight / 2 * r1_penalty(discriminator, real, label)
        of_discriminator.descend(loss + penalty)

        discriminator.requires_grad_(False)
        generators = generator_loss(judged(model(second, label), label))
        norm_and_rate = of_generator.descend(generators)
        discriminator.requires_grad_(True)
        ema.update(model.net, step)
        return {
            "loss": generators.detach(),
            "discriminator_loss": loss.detach(),
            "penalty": penalty.detach(),
            **norm_and_rate,
        }

    return update


def load_gan(path: Path, device: torch.device, precision: str) -> tuple[GanModel, dict[str, Any]]:
    """The generator in a file, ready to sample with, and its description.

    Raises ValueError for a file that is not a generator of this project.
    """
    with described(path, "gan") as (tensors, description):
        net = Generator(**description["net"])
        net.load_state_dict(tensors)
    return GanModel(frozen(net, device), precision), description
