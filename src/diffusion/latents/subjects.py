"""What every image has: a colour or a lightness, and a subject that fills some of it and is more or less symmetric."""

import torch
from torch import Tensor

from diffusion.data import to_float

CLEAR = 0.25  # a pixel that is this far from the background (1 is black to white) belongs to the subject entirely
LEAST = 1e-6


def measure(images: Tensor) -> Tensor:
    """Three values (N, 3), float64, of images (N, C, H, W), uint8 or float in [-1, 1], grey or RGB.

    The subject is what differs from the background, which is the median of the image's border in every channel.

    colour (RGB): red minus blue of the subject, -1 to 1, so that warm colours are high and cool ones low.
    lightness (grey): that of the subject, 0 to 1.
    size: the share of the image that the subject fills, 0 to 1.
    symmetry: the correlation of the subject with its mirror image, left to right, 1 if both are the same.
    """
    pixels = (to_float(images).double().clamp(-1, 1) + 1) / 2
    away = pixels - background(pixels)[:, :, None, None]
    subject = (away.square().mean(dim=1).sqrt() / CLEAR).clamp(max=1) + LEAST  # (N, H, W); all of it if there is none
    colours = (pixels * subject[:, None]).mean(dim=(2, 3)) / subject.mean(dim=(1, 2))[:, None]  # (N, C)
    tone = colours[:, 0] - colours[:, 2] if colours.shape[1] == 3 else colours.mean(dim=1)
    energy = away.square().sum(dim=(1, 2, 3))
    mirrored = ((away * away.flip(3)).sum(dim=(1, 2, 3)) + LEAST) / (energy + LEAST)
    return torch.stack([tone, subject.mean(dim=(1, 2)), mirrored], dim=1)


def background(pixels: Tensor) -> Tensor:
    """The median (N, C) of the outermost pixels of images (N, C, H, W)."""
    sides = (pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, 1:-1, 0], pixels[:, :, 1:-1, -1])
    return torch.cat(sides, dim=2).median(dim=2).values
