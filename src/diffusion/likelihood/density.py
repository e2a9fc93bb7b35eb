"""A denoiser as a density of 8-bit images: both bounds on -log P, in batches, with random numbers per image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from diffusion.denoiser import Conditional, Denoise, Denoiser
from diffusion.likelihood.bounds import (
    Bound,
    Decode,
    by_shares,
    grey_aware,
    ode_bound,
    root_mean_square_errors,
    variational_bound,
)
from diffusion.likelihood.greys import Greys
from diffusion.processes import spread
from diffusion.randomness import generator_for, image_noise
from diffusion.schedule import NoiseSchedule
from diffusion.transfer import sent

BATCH_SIZE = 32  # the decoder and grey awareness hold 256 numbers for every pixel of a batch
ERROR_LEVELS, ERROR_IMAGES = 25, 64

Batch = tuple[Denoise, NoiseSchedule, Tensor, Decode, Iterator[Tensor]]


@dataclass(frozen=True, eq=False)
class Density:
    """A denoiser with what turns it into a density of images; the figures of image k are a function of (seed, k)."""

    denoiser: Denoiser
    denoise_to: Callable[[Tensor], Denoise]  # of labels (B,)
    decode_to: Callable[[Tensor], Decode]  # of labels (B,)
    log_snr_bins: int  # of the variational bound
    ode_tolerance: float
    seed: int

    @classmethod
    def grey_aware(cls, denoiser: Denoiser, train: Tensor, log_snr_bins: int, ode_tolerance: float, seed: int) -> Self:
        """A grey-aware density, with grey values and errors from uint8 training images (N, C, H, W) alone."""
        images = train[:: max(1, len(train) // ERROR_IMAGES)][:ERROR_IMAGES].to(denoiser.device)
        null = torch.full((len(images),), denoiser.null, device=denoiser.device)
        normals = image_noise(seed, "score/errors", range(len(images)), images.shape[1:], denoiser.device)
        errors = root_mean_square_errors(Conditional(denoiser, null), denoiser.schedule, images, normals, ERROR_LEVELS)
        greys, errors = Greys.of(train.to(denoiser.device)), errors.cpu()

        def denoise_to(labels: Tensor) -> Denoise:
            return grey_aware(Conditional(denoiser, labels), denoiser.schedule, greys, errors)

        def decode_to(labels: Tensor) -> Decode:
            return by_shares(denoiser.schedule, greys)

        return cls(denoiser, denoise_to, decode_to, log_snr_bins, ode_tolerance, seed)

    def bare(self) -> Self:
        """The same density from the estimates of the network itself."""
        return replace(self, denoise_to=partial(Conditional, self.denoiser))

    def bound(self, images: Tensor, labels: Tensor) -> Bound:
        """The variational bound of uint8 images (N, C, H, W), in nats, on the CPU."""

        def of_batch(indices: list[int], batch: Batch) -> tuple[Tensor, ...]:
            generators = (generator_for(self.seed, "score/times", index) for index in indices)
            shares = torch.stack([torch.rand(self.log_snr_bins, generator=g) for g in generators])
            return variational_bound(*batch, shares)

        parts = self._of_batches(of_batch, images, labels)
        return Bound(*(torch.cat(terms) for terms in zip(*parts, strict=True)))

    def by_ode(self, images: Tensor, labels: Tensor) -> Tensor:
        """-log P of uint8 images (N,), in nats, on the CPU."""
        parts = self._of_batches(lambda _, batch: (ode_bound(*batch, self.ode_tolerance),), images, labels)
        return torch.cat([nats for (nats,) in parts])

    def _of_batches(
        self, figures: Callable[[list[int], Batch], tuple[Tensor, ...]], images: Tensor, labels: Tensor
    ) -> Iterator[tuple[Tensor, ...]]:
        """The figures of every batch, on the CPU, given its indices and the arguments common to both bounds."""
        device = self.denoiser.device

        def of(indices: Tensor) -> tuple[Tensor, ...]:
            label = sent(labels[indices], device)
            normals = image_noise(self.seed, "score/bits", indices.tolist(), images.shape[1:], device)
            x, decode = sent(images[indices], device), self.decode_to(label)
            batch = self.denoise_to(label), self.denoiser.schedule, x, decode, normals
            return tuple(part.cpu() for part in figures(indices.tolist(), batch))

        batches = torch.arange(len(images)).split(BATCH_SIZE)
        return spread(of, batches, len(batches), device, in_turn=True)
