"""The autoencoder whose latents stand in for images: its loss, its standardised latents, its file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import to_float
from diffusion.gaussian import STANDARD, Gaussian
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.objective import Draws, Loss
from diffusion.runtime import autocast, freeze
from diffusion.tensors import Description, Tensors, load_model, save_model, with_weights
from diffusion.transfer import sent

BATCH_SIZE = 256


def reconstruction_loss(net: Autoencoder, *, kl_weight: float, precision: str) -> Loss:
    """The loss of an autoencoder on images: mean squared error of pixels plus `kl_weight` times the mean KL of latents
    to a standard normal (Rombach et al. 2022, section 3.1). The labels are ignored."""

    def loss(x: Tensor, _: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        with autocast(x.device, precision):
            posterior = Gaussian(*net.moments(x))
            eps = draws.normal(posterior.mean.shape[1:], of="noise")
            reconstruction = net.pixels(posterior.sample(eps))
        error = (reconstruction - x).square().mean()
        kl = posterior.kl_to(STANDARD).mean()
        total = error + kl_weight * kl
        return total, {"loss": total, "error": error, "kl": kl}

    return loss


@torch.no_grad()
def encode(net: Autoencoder, images: Tensor) -> Tensor:
    """Standardised latents (N, c, h, w) fp32 of uint8 images (N, C, H, W), batch by batch, on the network's device."""
    return torch.cat([net.encode(to_float(sent(batch, net.mean.device))) for batch in images.split(BATCH_SIZE)])


@torch.no_grad()
def decode(net: Autoencoder, latents: Tensor) -> Tensor:
    """Images (N, C, H, W) fp32, roughly in [-1, 1], of standardised latents (N, c, h, w), batch by batch."""
    return torch.cat([net.decode(batch) for batch in latents.split(BATCH_SIZE)])


def standardise(net: Autoencoder, images: Tensor) -> None:
    """Set `mean` and `std` so that latents of these uint8 images have mean 0 and standard deviation 1 per channel."""
    net.mean.zero_()
    net.std.fill_(1)
    latents = encode(net, images).cpu().double()
    std, mean = torch.std_mean(latents, dim=(0, 2, 3), keepdim=True, correction=0)
    net.mean.copy_(mean[0])
    net.std.copy_(std[0])


def save_autoencoder(path: Path, net: Autoencoder, arguments: Description) -> None:
    """Write the weights, the mean and std of latents, and the arguments that build the network."""
    save_model(path, "autoencoder", net.state_dict(), {"autoencoder": arguments})


def refuse_other_images(path: Path, arguments: Description, shape: Sequence[int]) -> None:
    """Raise ValueError if the autoencoder in a file was not made for images of shape (C, H, W)."""
    made_for = (arguments["image_channels"], arguments["image_size"], arguments["image_size"])
    if made_for != tuple(shape):
        sizes = "images of {1}x{2}, {0} channels"
        raise ValueError(f"{path}: made for {sizes.format(*made_for)}; the data are {sizes.format(*shape)}")


def load_autoencoder(path: Path, device: torch.device) -> tuple[Autoencoder, Description]:
    """Load the autoencoder in a file, ready to use, and the arguments that build it.

    Raises ValueError for a file that is not an autoencoder of this project.
    """

    def build(tensors: Tensors, description: Description) -> Autoencoder:
        return freeze(with_weights(Autoencoder(**description["autoencoder"]), tensors), device)

    net, description = load_model(path, "autoencoder", build)
    return net, description["autoencoder"]
