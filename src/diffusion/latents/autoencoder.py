"""The autoencoder whose latents stand in for images: its loss, its standardised latents, its file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.data import to_float
from diffusion.gaussian import STANDARD, Gaussian
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.randomness import generator
from diffusion.runtime import autocast, frozen
from diffusion.tensors import described, save_tensors

BATCH_SIZE = 256


def autoencoder_update(
    net: Autoencoder,
    descend: Callable[[Tensor], dict[str, Tensor]],
    next_batch: Callable[[int], Tensor],
    images: Tensor,
    *,
    kl_weight: float,
    precision: str,
    seed: int,
) -> Callable[[int], dict[str, Tensor]]:
    """The training step for `training.fit`: mean squared error of pixels plus `kl_weight` times the mean KL of latents.

    images uint8 (N, C, H, W) on the device; `next_batch(step)` says which of them, (B,).
    """

    def update(step: int) -> dict[str, Tensor]:
        x = to_float(images[next_batch(step)])
        draw = generator(seed, "autoencoder/noise", step, x.device)
        with autocast(x.device, precision):
            posterior = Gaussian(*net.moments(x))
            eps = torch.randn(posterior.mean.shape, generator=draw, device=x.device)
            reconstruction = net.reconstruct(posterior.sample(eps))
        error = (reconstruction - x).square().mean()
        kl = posterior.kl_to(STANDARD).mean()
        loss = error + kl_weight * kl
        return {"loss": loss.detach(), "error": error.detach(), "kl": kl.detach(), **descend(loss)}

    return update


@torch.no_grad()
def encoded(net: Autoencoder, images: Tensor) -> Tensor:
    """Standardised latents (N, c, h, w) fp32 of uint8 images (N, C, H, W), on the device of the network."""
    return torch.cat([net.encode(to_float(batch.to(net.mean.device))) for batch in images.split(BATCH_SIZE)])


@torch.no_grad()
def decoded(net: Autoencoder, latents: Tensor) -> Tensor:
    """Images (N, C, H, W) fp32, about in [-1, 1], of standardised latents (N, c, h, w), in fp32."""
    return torch.cat([net.decode(batch) for batch in latents.split(BATCH_SIZE)])


def standardise(net: Autoencoder, images: Tensor) -> None:
    """Set `mean` and `std`: the latents of these uint8 images get mean 0 and standard deviation 1 per channel."""
    net.mean.zero_()
    net.std.fill_(1)
    latents = encoded(net, images).cpu().double()
    std, mean = torch.std_mean(latents, dim=(0, 2, 3), keepdim=True, correction=0)
    net.mean.copy_(mean[0])
    net.std.copy_(std[0])


def save_autoencoder(path: Path, net: Autoencoder, arguments: dict[str, Any]) -> None:
    """Write weights, mean and std of latents, and the arguments that build the network."""
    save_tensors(path, net.state_dict(), {"kind": "autoencoder", "autoencoder": arguments})


def refuse_other_images(path: Path, arguments: dict[str, Any], shape: Sequence[int]) -> None:
    """Raises ValueError where the autoencoder in a file was not made for images (C, H, W)."""
    made_for = (arguments["image_channels"], arguments["image_size"], arguments["image_size"])
    if made_for != tuple(shape):
        sizes = "images of {1}x{2}, {0} channels"
        raise ValueError(f"{path}: made for {sizes.format(*made_for)}; the data are {sizes.format(*shape)}")


def load_autoencoder(path: Path, device: torch.device) -> tuple[Autoencoder, dict[str, Any]]:
    """What `save_autoencoder` wrote, ready to use, and its arguments. Raises ValueError for another file."""
    with described(path, "autoencoder") as (tensors, description):
        net = Autoencoder(**description["autoencoder"])
        net.load_state_dict(tensors)
    return frozen(net, device), description["autoencoder"]
