"""The two networks of a generative adversarial network, built of the same blocks as the other models."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffusion.baselines.coders import Decoder, Encoder


class Generator(nn.Module):
    """Maps a latent and a class to an image (Radford et al. 2016, with residual blocks)."""

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        latent: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
    ) -> None:
        super().__init__()
        self.decoder = Decoder(image_size, num_classes, latent, patch, channels, blocks, image_channels)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] for latents z (B, Z) and labels (B,)."""
        return torch.tanh(self.decoder(z, label))


class Discriminator(nn.Module):
    """Maps an image and its class to a logit: how real it looks."""

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, image_channels, num_classes, patch, channels, blocks, outputs=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """(B,) for images x (B, C, H, W) in [-1, 1] and labels (B,)."""
        return self.encoder(x, label).squeeze(1)
