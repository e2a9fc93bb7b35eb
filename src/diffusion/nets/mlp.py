"""A small network for points instead of images: maps a point and a time to a point."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.unet import TimeEmbedding

FREQUENCIES = (1.0, 2.0, 4.0)  # of sines and cosines of the input, so that detail is easy to learn


class Mlp(nn.Module):
    """Unconditional residual layers, each given the time; points are images of 1 x 1 pixel, a channel per dimension."""

    def __init__(self, dimensions: int, width: int, layers: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.first = nn.Linear(dimensions * (1 + 2 * len(FREQUENCIES)), width)
        self.layers = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(layers))
        self.last = nn.Linear(width, dimensions)

    def forward(self, x: Tensor, time: Tensor, _: Tensor) -> Tensor:
        """The prediction (B, D, 1, 1) for points x (B, D, 1, 1) and times in [0, 1000] (B,); a label is ignored."""
        condition = self.time(time)  # (B, width)
        point = x.flatten(1)  # (B, D)
        angles = torch.cat([frequency * math.pi * point for frequency in FREQUENCIES], dim=1)
        h = self.first(torch.cat([point, angles.cos(), angles.sin()], dim=1))  # (B, width)
        for layer in self.layers:
            h = h + F.silu(layer(torch.cat([h, condition], dim=1)))
        return self.last(h).view_as(x)
