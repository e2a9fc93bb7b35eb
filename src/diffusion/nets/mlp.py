"""A small network of points, for data that are no images: a point and a time in, a point out."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.unet import TimeEmbedding

FREQUENCIES = (1.0, 2.0, 4.0)  # of the waves in which a point is seen too, so that detail is easy to learn


class Mlp(nn.Module):
    """Residual layers, each of which sees the time; points come as images of 1 x 1 pixel, a channel per dimension."""

    def __init__(self, dimensions: int, width: int, layers: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.first = nn.Linear(dimensions * (1 + 2 * len(FREQUENCIES)), width)
        self.layers = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(layers))
        self.last = nn.Linear(width, dimensions)

    def forward(self, x: Tensor, time: Tensor, _: Tensor) -> Tensor:
        """The prediction (B, D, 1, 1) for points x (B, D, 1, 1) and times in [0, 1000] (B,); points have no label."""
        condition = self.time(time)  # (B, width)
        point = x.flatten(1)  # (B, D)
        angles = torch.cat([frequency * math.pi * point for frequency in FREQUENCIES], dim=1)
        h = self.first(torch.cat([point, angles.cos(), angles.sin()], dim=1))  # (B, width)
        for layer in self.layers:
            h = h + F.silu(layer(torch.cat([h, condition], dim=1)))
        return self.last(h).view_as(x)
