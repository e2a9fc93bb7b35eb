"""A small KL autoencoder: images to latents of a fraction of their size, and back (Rombach et al. 2022, sec. 3.1)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.classifier import Block
from diffusion.nets.unet import Upsample

PATCH = 2


class Autoencoder(nn.Module):
    """Encoder and decoder; to callers, latents are standardised per channel by the buffers `mean` and `std`.

    Images are folded 2 x 2 into channels, then halved between the widths `channels`: two widths turn 28x28 into 7x7.
    Raises ValueError if image_size cannot be divided that often.
    """

    mean: Tensor  # (c, 1, 1)
    std: Tensor  # (c, 1, 1)

    def __init__(self, image_size: int, image_channels: int, latent_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        widths = list(channels)
        factor = PATCH * 2 ** (len(widths) - 1)
        if image_size % factor:
            raise ValueError(
                f"channels: images of {image_size}x{image_size} cannot be divided by {factor} "
                f"(allowed: a number of widths with 2^widths a divisor of {image_size})"
            )
        self.latent_shape = (latent_channels, image_size // factor, image_size // factor)
        folded = image_channels * PATCH**2
        self.encoder = nn.ModuleList([Block(folded, widths[0], 1, 0), Block(widths[0], widths[0], 1, 0)])
        for width, next_width in pairwise(widths):
            self.encoder.extend([Block(width, next_width, 2, 0), Block(next_width, next_width, 1, 0)])
        self.to_moments = nn.Conv2d(widths[-1], 2 * latent_channels, 1)
        self.decoder = nn.ModuleList([Block(latent_channels, widths[-1], 1, 0), Block(widths[-1], widths[-1], 1, 0)])
        for width, next_width in pairwise(reversed(widths)):
            self.decoder.extend([Upsample(width, next_width), Block(next_width, next_width, 1, 0)])
        self.to_image = nn.Conv2d(widths[0], folded, 3, padding=1)
        self.register_buffer("mean", torch.zeros(latent_channels, 1, 1))
        self.register_buffer("std", torch.ones(latent_channels, 1, 1))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, c, h, w) fp32 of q(z | x), not standardised, for images x (B, C, H, W)."""
        h = F.pixel_unshuffle(x, PATCH).contiguous(memory_format=torch.channels_last)  # (B, 4C, H/2, W/2)
        for layer in self.encoder:
            h = layer(h, None)
        mean, log_variance = self.to_moments(h).float().chunk(2, dim=1)
        return mean, log_variance

    def pixels(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) fp32, roughly in [-1, 1], from latents (B, c, h, w) that are not standardised."""
        h = z.contiguous(memory_format=torch.channels_last)
        for layer in self.decoder:
            h = layer(h, None)
        return F.pixel_shuffle(self.to_image(h), PATCH).float()

    def encode(self, x: Tensor) -> Tensor:
        """Standardised latents (B, c, h, w) of images (B, C, H, W): the mean of q(z | x)."""
        return (self.moments(x)[0] - self.mean) / self.std

    def decode(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) from standardised latents (B, c, h, w)."""
        return self.pixels(z * self.std + self.mean)
