"""Grades of measured values: in which third of its class an image is."""

import torch
from torch import Tensor


def terciles(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The two bounds (K, 3, 2) that divide the values (N, 3) of every class and property into three thirds.

    A class without images has bounds of 0.
    """
    thirds = torch.tensor([1 / 3, 2 / 3], dtype=values.dtype, device=values.device)
    bounds = torch.zeros(num_classes, values.shape[1], 2, dtype=values.dtype, device=values.device)
    for label in labels.unique().tolist():
        bounds[label] = values[labels == label].quantile(thirds, dim=0).T
    return bounds


def grade(values: Tensor, labels: Tensor, bounds: Tensor) -> Tensor:
    """The grades (N, 3) of values (N, 3): 0, 1, 2 below, between and above the bounds of their class (K, 3, 2)."""
    return (values[:, :, None] > bounds[labels]).sum(dim=2)
