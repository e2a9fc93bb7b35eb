"""A class-conditional encoder of images and decoder to images, from which VAE and GAN are built.

They consist of the U-Net's blocks, so that the models differ in their principle and not in their layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.unet import Downsample, ResidualBlock, Upsample, coarsest_side


class Encoder(nn.Module):
    """Maps an image and its class to `outputs` numbers; `channels[i]` is the width at image_size / patch / 2^i.

    Raises ValueError if image_size cannot be halved that often.
    """

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
        outputs: int,
    ) -> None:
        super().__init__()
        side = coarsest_side(image_size, patch, channels)
        embedding = 4 * channels[0]
        self.patch = patch
        self.label = nn.Embedding(num_classes, embedding)
        self.stem = nn.Conv2d(image_channels * patch**2, channels[0], 3, padding=1)
        self.layers = nn.ModuleList()
        for level, width in enumerate(channels):
            self.layers.extend(ResidualBlock(width, width, embedding, 0.0) for _ in range(blocks))
            if level < len(channels) - 1:
                self.layers.append(Downsample(width, channels[level + 1]))
        self.head = nn.Sequential(nn.GroupNorm(1, width), nn.SiLU(), nn.Flatten(), nn.Linear(width * side**2, outputs))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """(B, outputs) for images x (B, C, H, W) in [-1, 1] and labels (B,)."""
        condition = F.silu(self.label(label))  # (B, E)
        h = self.stem(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        for layer in self.layers:
            h = layer(h, condition)  # (B, C[-1], coarsest, coarsest) at the end
        return self.head(h)


class Decoder(nn.Module):
    """Maps a latent and a class to `outputs` numbers per pixel: the encoder's widths in reverse, both in every block.

    Raises ValueError if image_size cannot be halved that often.
    """

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        latent: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
        outputs: int,
    ) -> None:
        super().__init__()
        self.side = coarsest_side(image_size, patch, channels)
        embedding = 4 * channels[0]
        self.patch = patch
        self.label = nn.Embedding(num_classes, embedding)
        self.latent = nn.Linear(latent, embedding)
        self.stem = nn.Linear(latent, channels[-1] * self.side**2)
        self.layers = nn.ModuleList()
        for level, width in reversed(list(enumerate(channels))):
            self.layers.extend(ResidualBlock(width, width, embedding, 0.0) for _ in range(blocks))
            if level:
                self.layers.append(Upsample(width, channels[level - 1]))
        self.head = nn.Sequential(nn.GroupNorm(1, width), nn.SiLU(), nn.Conv2d(width, outputs * patch**2, 3, padding=1))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """(B, outputs, H, W) for latents z (B, Z) and labels (B,)."""
        condition = F.silu(self.latent(z) + self.label(label))  # (B, E)
        h = self.stem(z).unflatten(1, (-1, self.side, self.side))
        h = h.contiguous(memory_format=torch.channels_last)  # (B, C[-1], coarsest, coarsest)
        for layer in self.layers:
            h = layer(h, condition)
        return F.pixel_shuffle(self.head(h), self.patch)  # (B, outputs, H, W)
