"""The grey values of 8-bit images: how frequent each is, and what that says about a pixel seen in noise."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from diffusion.data import to_float

GREYS = 256


@dataclass(frozen=True, eq=False)
class Greys:
    """Every grey value with the log of its share among the pixels of images, after adding one to every count."""

    value: Tensor  # (GREYS,), in [-1, 1]
    log_share: Tensor  # (GREYS,)

    @classmethod
    def of(cls, images: Tensor) -> Self:
        """The grey values of uint8 images."""
        counts = images.flatten().bincount(minlength=GREYS).double() + 1
        log_share = (counts / counts.sum()).log().float()
        return cls(to_float(torch.arange(GREYS, dtype=torch.uint8, device=images.device)), log_share)

    def log_weights(self, seen: Tensor, scale: Tensor, std: Tensor) -> Tensor:
        """log(share_k N(seen; scale * value_k, std^2)) (..., GREYS) up to a constant, for pixels (...).

        A std that is a scalar may stay on the CPU, as in `per_sample`.
        """
        std = std[..., None] if std.ndim else std
        return self.log_share - ((seen[..., None] - scale * self.value) / std).square() / 2

    def expected(self, seen: Tensor, std: Tensor) -> Tensor:
        """The expected grey value (...) of pixels (...) seen with normal errors of this standard deviation."""
        return (self.log_weights(seen, seen.new_ones(()), std).softmax(-1) * self.value).sum(-1)
