"""Random numbers as a function of (seed, purpose, index): any draw can be made without the ones before it."""

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffusion.transfer import sent

DRAWS_AHEAD = 16


def generator_for(seed: int, purpose: str, index: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for the `index`-th use of `purpose`, for example ("train", step) or ("sample", image)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def image_noise(
    seed: int, purpose: str, indices: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Endless standard normal draws (len(indices), *shape), fp32: first the start noise, then one draw per step.

    The draws of image k come from a generator of its own, so they do not depend on the batch that it is part of. They
    are made on the CPU, `DRAWS_AHEAD` steps at a time: the same numbers on every device, few calls of generators, and
    no wait for a GPU, which works on the steps before meanwhile.
    """
    generators = [generator_for(seed, purpose, index) for index in indices]
    yield sent(torch.stack([torch.randn(*shape, generator=g) for g in generators]), torch.device(device))
    while True:
        ahead = torch.stack([torch.randn(DRAWS_AHEAD, *shape, generator=g) for g in generators], dim=1)
        yield from sent(ahead, torch.device(device))
