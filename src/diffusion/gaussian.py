"""Gaussians with independent elements: draws, densities, and the KL between two."""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """A Gaussian for every element; both tensors have one shape."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, eps: Tensor) -> Tensor:
        """mean + std * eps (Kingma & Welling 2014, section 2.4)."""
        return self.mean + (self.log_variance / 2).exp() * eps

    def log_density(self, z: Tensor) -> Tensor:
        """log N(z; mean, variance) of every element, in nats."""
        squares = (z - self.mean).square() / self.log_variance.exp()
        return -0.5 * (squares + self.log_variance + math.log(2 * math.pi))

    def kl_to(self, prior: Self) -> Tensor:
        """KL(self || prior) of every element, in nats; for `STANDARD` Kingma & Welling 2014, appendix B."""
        ratio = self.log_variance - prior.log_variance
        squares = (self.mean - prior.mean).square() / prior.log_variance.exp()
        return 0.5 * (squares + ratio.exp() - ratio - 1)


STANDARD = Gaussian(torch.zeros(()), torch.zeros(()))
