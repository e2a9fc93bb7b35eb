"""A convolutional variational autoencoder: an image and a class to a latent, and a latent and a class to pixels.

Encoder and decoder are made of the U-Net's blocks, so that models of different kinds differ in their kind alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.unet import Downsample, ResidualBlock, Upsample, coarsest_side

PARAMETERS_PER_LOGISTIC = 3  # weight, mean, log scale


class Encoder(nn.Module):
    """Images and classes to `outputs` numbers each; `channels[i]` is the width at image_size / patch / 2^i.

    Raises ValueError where image_size cannot be halved that often.
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
            h = layer(h, condition)  # (B, C[-1], coarsest, coarsest) in the end
        return self.head(h)


class Decoder(nn.Module):
    """Latents and classes to `outputs` numbers per pixel: the encoder's widths in reverse, both conditions everywhere.

    Raises ValueError where image_size cannot be halved that often.
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


class Vae(nn.Module):
    """Encoder to a diagonal Gaussian over latents, decoder to a mixture of `mixtures` logistics for every pixel.

    Every class has a prior of its own (Sohn et al. 2015, section 4.1): with one for all, the latent says the class as
    cheaply as it says anything, and the decoder need not listen to the label.
    """

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        latent: int,
        mixtures: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
    ) -> None:
        super().__init__()
        shape = (patch, channels, blocks)
        self.image_channels = image_channels
        self.of_class = nn.Embedding(num_classes, 2 * latent)
        nn.init.zeros_(self.of_class.weight)
        self.encoder = Encoder(image_size, image_channels, num_classes, *shape, 2 * latent)
        outputs = image_channels * mixtures * PARAMETERS_PER_LOGISTIC
        self.decoder = Decoder(image_size, num_classes, latent, *shape, outputs)

    def prior(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, Z) of the latent of a class."""
        return self.of_class(label).chunk(2, dim=1)

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, Z) of the latent of an image."""
        return self.encoder(x, label).chunk(2, dim=1)

    def decode(self, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the logistics of every pixel the logits of their weights, means and log scales: (B, K, C, H, W) each."""
        of_pixels = self.decoder(z, label).unflatten(1, (PARAMETERS_PER_LOGISTIC, -1, self.image_channels))
        return of_pixels.unbind(1)
