"""A small image classifier whose penultimate layer serves as a feature extractor."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_FEATURES = 128
COARSEST_SIDE = 8
NOISE_FREQUENCIES = 16


class Classifier(nn.Module):
    """Residual CNN on 2x2 patches, downsampled until the side is at most 8; for any image of 4x4 or more.

    With `knows_noise` it also takes the log-SNR of its input, which scales and shifts the features of every block.
    Raises ValueError if image_size is too small.
    """

    def __init__(
        self, image_size: int, in_channels: int, num_classes: int, width: int = 48, knows_noise: bool = False
    ) -> None:
        super().__init__()
        if image_size < 4:
            raise ValueError(f"classifier: image_size {image_size} is too small (allowed: 4 or more)")
        self.arguments = {
            "image_size": image_size,
            "in_channels": in_channels,
            "num_classes": num_classes,
            "width": width,
            "knows_noise": knows_noise,
        }
        self.knows_noise = knows_noise
        self.patch = 2 if image_size >= 16 and image_size % 2 == 0 else 1
        embedding = 2 * NOISE_FREQUENCIES if knows_noise else 0
        side = image_size // self.patch
        self.blocks = nn.ModuleList(
            [Block(in_channels * self.patch**2, width, 1, embedding), Block(width, width, 1, embedding)]
        )
        channels = width
        while side > COARSEST_SIDE or channels == width:
            self.blocks.append(Block(channels, 2 * width, 2, embedding))
            self.blocks.append(Block(2 * width, 2 * width, 1, embedding))
            channels, side = 2 * width, (side + 1) // 2
        self.penultimate = nn.Linear(channels * side**2, NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def features(self, x: Tensor, log_snr: Tensor | None = None) -> Tensor:
        """Penultimate features (B, 128) of images (B, C, H, W) in [-1, 1]; log_snr (B,) if the net knows noise."""
        embedding = None if log_snr is None else embed_log_snr(log_snr)
        x = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)  # (B, C p^2, H/p, W/p)
        for block in self.blocks:
            x = block(x, embedding)
        return F.silu(self.penultimate(x.flatten(1)))  # (B, 128)

    def forward(self, x: Tensor, log_snr: Tensor | None = None) -> Tensor:
        """Logits (B, num_classes); arguments as `features`."""
        return self.head(self.features(x, log_snr))


class Block(nn.Module):
    """3x3 convolution, one-group norm, modulation by the noise level, SiLU; residual if the shape stays the same."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, embedding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.norm = nn.GroupNorm(1, out_channels)
        self.modulation = nn.Linear(embedding, 2 * out_channels) if embedding else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """x (B, C, H, W), embedding (B, E) -> (B, C', H', W')."""
        y = self.norm(self.conv(x))
        if self.modulation is not None:
            scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
            y = y * (1 + scale) + shift
        y = F.silu(y)
        return x + y if x.shape == y.shape else y


def embed_log_snr(log_snr: Tensor) -> Tensor:
    """Sines and cosines (B, 32) of log-SNR (B,), with periods from 60 down to 2."""
    ends = math.log(2 * math.pi / 60), math.log(math.pi)
    frequency = torch.linspace(*ends, NOISE_FREQUENCIES, device=log_snr.device).exp()
    angle = log_snr[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
