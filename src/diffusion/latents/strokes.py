"""What a stroke looks like, measured: its thickness, slant and width, from the ink of an image."""

import torch
from torch import Tensor

from diffusion.data import to_float

PROPERTIES = ("thickness", "slant", "width")
FAINT = 0.25  # for slant and width, ink up to this share of full ink is none: far from the stroke a haze would count
LEAST_INK = 1e-6


def measured(images: Tensor) -> Tensor:
    """(N, 3) float64, as PROPERTIES, of images (N, C, H, W), uint8 or float in [-1, 1]; bright pixels are ink.

    thickness: twice the ink's area over its outline, in pixels: the width of a long stroke.
    slant: how many pixels the ink moves to the right per pixel that it rises.
    width: of the ink once it is set upright, in pixels, exact for a filled rectangle.
    """
    soft = ((to_float(images).double().clamp(-1, 1) + 1) / 2).mean(dim=1)  # (N, H, W)
    thickness = 2 * soft.sum(dim=(1, 2)) / outline(soft)
    ink = (soft - FAINT).clamp(min=0)
    area = ink.sum(dim=(1, 2)).clamp(min=LEAST_INK)
    rows, columns = (torch.arange(size, dtype=torch.float64, device=ink.device) for size in ink.shape[1:])
    x = columns - (ink.sum(1) @ columns / area)[:, None]  # (N, W), from the centre of the ink
    y = (ink.sum(2) @ rows / area)[:, None] - rows  # (N, H), upwards
    variance_x = torch.einsum("nhw,nw->n", ink, x**2) / area + 1 / 12  # a pixel is no point
    variance_y = torch.einsum("nhw,nh->n", ink, y**2) / area + 1 / 12
    covariance = torch.einsum("nhw,nw,nh->n", ink, x, y) / area
    upright = (variance_x - covariance**2 / variance_y).clamp(min=0)
    return torch.stack([thickness, covariance / variance_y, (12 * upright).sqrt()], dim=1)


def outline(ink: Tensor) -> Tensor:
    """(N,) length of the outline of ink (N, H, W) in [0, 1]: its total variation, however soft its edges are."""
    padded = torch.nn.functional.pad(ink, (1, 1, 1, 1))
    down, across = padded.diff(dim=1)[:, :, :-1], padded.diff(dim=2)[:, :-1]
    return torch.hypot(down, across).sum(dim=(1, 2)).clamp(min=LEAST_INK)


def terciles(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(K, 3, 2): for every class and property the two bounds that part the class's images (N, 3) into three thirds.

    A class without images has bounds of 0.
    """
    thirds = torch.tensor([1 / 3, 2 / 3], dtype=values.dtype, device=values.device)
    bounds = torch.zeros(num_classes, len(PROPERTIES), 2, dtype=values.dtype, device=values.device)
    for label in labels.unique().tolist():
        bounds[label] = values[labels == label].quantile(thirds, dim=0).T
    return bounds


def graded(values: Tensor, labels: Tensor, bounds: Tensor) -> Tensor:
    """(N, 3) grades 0, 1, 2 of values (N, 3): below, between and above the bounds of their class."""
    return (values[:, :, None] > bounds[labels]).sum(dim=2)
