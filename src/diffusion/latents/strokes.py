"""The thickness, slant and width of strokes, measured from the ink of an image."""

import torch
from torch import Tensor

from diffusion.data import to_float

FAINT = 0.25  # slant and width ignore ink up to this share of full ink: a haze far from the stroke would count
LEAST_INK = 1e-6


def measure(images: Tensor) -> Tensor:
    """Three values (N, 3), float64, of images (N, C, H, W), uint8 or float in [-1, 1]; bright pixels are ink.

    thickness: twice the area of the ink over the length of its outline, in pixels, which is the width of a long stroke.
    slant: the pixels that the ink moves to the right for every pixel that it rises.
    width: that of the ink once it is made upright, in pixels, exact for a filled rectangle.
    """
    soft = ((to_float(images).double().clamp(-1, 1) + 1) / 2).mean(dim=1)  # (N, H, W)
    thickness = 2 * soft.sum(dim=(1, 2)) / outline(soft)
    ink = (soft - FAINT).clamp(min=0)
    area = ink.sum(dim=(1, 2)).clamp(min=LEAST_INK)
    rows, columns = (torch.arange(size, dtype=torch.float64, device=ink.device) for size in ink.shape[1:])
    x = columns - (ink.sum(1) @ columns / area)[:, None]  # (N, W), from the centre of the ink
    y = (ink.sum(2) @ rows / area)[:, None] - rows  # (N, H), upwards
    variance_x = torch.einsum("nhw,nw->n", ink, x**2) / area + 1 / 12  # that of a pixel
    variance_y = torch.einsum("nhw,nh->n", ink, y**2) / area + 1 / 12
    covariance = torch.einsum("nhw,nw,nh->n", ink, x, y) / area
    upright = (variance_x - covariance**2 / variance_y).clamp(min=0)
    return torch.stack([thickness, covariance / variance_y, (12 * upright).sqrt()], dim=1)


def outline(ink: Tensor) -> Tensor:
    """The length of the outline (N,) of ink (N, H, W) in [0, 1]: its total variation, however soft its edges are."""
    padded = torch.nn.functional.pad(ink, (1, 1, 1, 1))
    down, across = padded.diff(dim=1)[:, :, :-1], padded.diff(dim=2)[:, :-1]
    return torch.hypot(down, across).sum(dim=(1, 2)).clamp(min=LEAST_INK)
