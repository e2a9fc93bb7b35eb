"""All that a model and its training know of each other: a loss, and the random numbers that it may draw."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffusion.randomness import generator_for


class Draws:
    """The random numbers of one training step, a function of (seed, purpose, step, device).

    They are drawn from named streams, each with a generator of its own, so that a new draw in one stream leaves the
    others as they are; within a stream, order counts. They are made for the whole batch and handed out for the `rows`
    of a part of it (all of them by default), so none depends on how a batch is split.
    """

    def __init__(
        self, seed: int, purpose: str, step: int, device: torch.device, batch_size: int, rows: slice = slice(None)
    ) -> None:
        self.seed, self.purpose, self.step, self.device = seed, purpose, step, device
        self.batch_size, self.rows = batch_size, rows
        self.streams: dict[tuple[str, torch.device], torch.Generator] = {}

    def stream(self, of: str, device: torch.device | None = None) -> torch.Generator:
        """The generator of a stream, on the device of the batch or on another."""
        key = of, device or self.device
        if key not in self.streams:
            self.streams[key] = generator_for(self.seed, f"{self.purpose}/{of}", self.step, key[1])
        return self.streams[key]

    def normal(self, shape: Sequence[int], of: str, before: Sequence[int] = ()) -> Tensor:
        """Standard normal numbers (*before, rows, *shape), fp32, on the batch's device; `shape` is of one item."""
        whole = torch.randn(*before, self.batch_size, *shape, generator=self.stream(of), device=self.device)
        return self.share(whole, len(before))

    def uniform(self, shape: Sequence[int], of: str, before: Sequence[int] = ()) -> Tensor:
        """Numbers (*before, rows, *shape), uniform in [0, 1), fp32, on the batch's device; `shape` is of one item."""
        whole = torch.rand(*before, self.batch_size, *shape, generator=self.stream(of), device=self.device)
        return self.share(whole, len(before))

    def stratified(self, within: Tensor) -> Tensor:
        """Numbers (rows,) in [0, 1), each `within` (rows,) of its own of as many equal parts as the batch has rows:
        less variance between batches than with independent draws."""
        parts = self.share(torch.arange(self.batch_size, device=within.device))
        return (parts + within) / self.batch_size

    def share(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Of what was drawn for the whole batch, along `dim`, the rows of this part."""
        return whole[(slice(None),) * dim + (self.rows,)]


# (items (B, ...): images in [-1, 1] or latents; conditions (B, ...): labels or tokens; draws)
# -> (the scalar to descend, scalars to log by name).
Loss = Callable[[Tensor, Tensor, Draws], tuple[Tensor, dict[str, Tensor]]]
