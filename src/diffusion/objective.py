"""All that a model and its training know of each other: a loss, and the random numbers that it may draw."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffusion.randomness import generator_for


class Draws:
    """The random numbers of one training step, a function of (seed, purpose, step, device).

    They are drawn from named streams, each with a generator of its own, so that a new draw in one stream leaves the
    others as they are; within a stream, order counts. Draws are for the whole batch, whose size is part of their shape:
    none depends on how many processes share the batch.
    """

    def __init__(self, seed: int, purpose: str, step: int, device: torch.device) -> None:
        self.seed, self.purpose, self.step, self.device = seed, purpose, step, device
        self.streams: dict[tuple[str, torch.device], torch.Generator] = {}

    def stream(self, of: str, device: torch.device | None = None) -> torch.Generator:
        """The generator of a stream, on the device of the batch or on another."""
        key = of, device or self.device
        if key not in self.streams:
            self.streams[key] = generator_for(self.seed, f"{self.purpose}/{of}", self.step, key[1])
        return self.streams[key]

    def normal(self, shape: Sequence[int], of: str) -> Tensor:
        """Standard normal numbers of a shape, fp32, on the device of the batch."""
        return torch.randn(*shape, generator=self.stream(of), device=self.device)

    def uniform(self, shape: Sequence[int], of: str) -> Tensor:
        """Numbers of a shape, uniform in [0, 1), fp32, on the device of the batch."""
        return torch.rand(*shape, generator=self.stream(of), device=self.device)


# (items (B, ...): images in [-1, 1] or latents; conditions (B, ...): labels or tokens; draws)
# -> (the scalar to descend, scalars to log by name).
Loss = Callable[[Tensor, Tensor, Draws], tuple[Tensor, dict[str, Tensor]]]
