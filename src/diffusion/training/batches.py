"""The order of the batches: batch k is a function of (seed, purpose, k)."""

from functools import lru_cache

import torch
from torch import Tensor

from diffusion.randomness import generator_for


def batch_indices(
    num_items: int, batch_size: int, seed: int, purpose: str, step: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Indices (B,) of batch `step` in an endless stream of shuffled epochs, computed without the batches before it."""
    first = step * batch_size
    last = first + batch_size - 1
    epochs = range(first // num_items, last // num_items + 1)
    permutations = [_epoch_permutation(num_items, seed, purpose, epoch, device) for epoch in epochs]
    begin = first - epochs[0] * num_items
    return torch.cat(permutations)[begin : begin + batch_size]


@lru_cache(maxsize=2)
def _epoch_permutation(num_items: int, seed: int, purpose: str, epoch: int, device: torch.device | str) -> Tensor:
    generator = generator_for(seed, f"{purpose}/epoch", epoch, device)
    return torch.randperm(num_items, generator=generator, device=device)
