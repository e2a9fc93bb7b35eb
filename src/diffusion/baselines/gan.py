"""The generative adversarial network: the losses of two networks that train each other, with the usual stabilisers.

The generator learns to make images that the discriminator takes for real, the discriminator to tell them apart
(Goodfellow et al. 2014, section 3). The loss is non-saturating, with the gradient penalty R1 (Mescheder et al. 2018).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.baselines.gan_nets import Generator
from diffusion.objective import Draws, Loss
from diffusion.runtime import autocast, freeze
from diffusion.tensors import Description, Tensors, load_model, with_weights


def logistic_loss(of_real: Tensor, of_fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)) from logits (B,) each (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-of_real).mean() + F.softplus(of_fake).mean()


def non_saturating_loss(of_fake: Tensor) -> Tensor:
    """-log D(fake) from logits (B,), with a gradient where D(fake) is near 0 (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-of_fake).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor, label: Tensor) -> Tensor:
    """The mean squared norm of the logit's gradient at real images (Mescheder et al. 2018, eq. 9, for weight 2)."""
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


def discriminator_loss(
    model: GanModel, discriminator: nn.Module, *, latent: int, r1_weight: float, r1_every: int
) -> Loss:
    """The discriminator's loss on real images and their labels, against as many images from the generator.

    The penalty is computed at every `r1_every`-th step and weighted by as much (Karras et al. 2020, appendix B).
    """

    def loss(real: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        first, _ = latents(draws, latent)
        with torch.no_grad():
            fake = model(first, label)
        of_real, of_fake = (logits(discriminator, x, label, model.precision) for x in (real, fake))
        adversarial, penalty = logistic_loss(of_real, of_fake), torch.zeros((), device=real.device)
        if draws.step % r1_every == 0:
            penalty = r1_every * r1_weight / 2 * r1_penalty(discriminator, real, label)
        return adversarial + penalty, {"discriminator_loss": adversarial, "penalty": penalty}

    return loss


def generator_loss(model: GanModel, discriminator: nn.Module, *, latent: int) -> Loss:
    """The generator's loss for the labels of a batch; images are ignored."""

    def loss(images: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        _, second = latents(draws, latent)
        adversarial = non_saturating_loss(logits(discriminator, model(second, label), label, model.precision))
        return adversarial, {"loss": adversarial}

    return loss


def latents(draws: Draws, latent: int) -> Tensor:
    """Latents (2, B, Z) of a training step: for the images that the discriminator sees, and for the generator's own."""
    return draws.normal((latent,), of="draw", before=(2,))


def logits(discriminator: nn.Module, x: Tensor, label: Tensor, precision: str) -> Tensor:
    """How real the discriminator, called in a precision, takes images (B, C, H, W) of labels (B,) to be: (B,) fp32."""
    with autocast(x.device, precision):
        return discriminator(x, label).float()


def load_gan(path: Path, device: torch.device, precision: str) -> tuple[GanModel, Description]:
    """Load the generator in a file, ready to sample with, and its description.

    Raises ValueError for a file that is not a generator of this project.
    """

    def build(tensors: Tensors, description: Description) -> GanModel:
        return GanModel(freeze(with_weights(Generator(**description["net"]), tensors), device), precision)

    return load_model(path, "gan", build)
