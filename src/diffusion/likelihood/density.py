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
from diffusion.randomness import generator_for, image_noise
from diffusion.schedule import NoiseSchedule

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
        parts = []
        for indices, batch in self._batches(images, labels):
            generators = (generator_for(self.seed, "score/times", index) for index in indices)
            shares = torch.stack([torch.rand(self.log_snr_bins, generator=g) for g in generators])
            parts.append([term.cpu() for term in variational_bound(*batch, shares)])
        return Bound(*(torch.cat(terms) for terms in zip(*parts, strict=True)))

    def by_ode(self, images: Tensor, labels: Tensor) -> Tensor:
        """-log P of uint8 images (N,), in nats, on the CPU."""
        return torch.cat([ode_bound(*batch, self.ode_tolerance).cpu() for _, batch in self._batches(images, labels)])

    def _batches(self, images: Tensor, labels: Tensor) -> Iterator[tuple[list[int], Batch]]:
        """(indices, the arguments common to both bounds) of every batch."""
        device = self.denoiser.device
        for indices in torch.arange(len(images)).split(BATCH_SIZE):
            label = labels[indices].to(device)
            normals = image_noise(self.seed, "score/bits", indices.tolist(), images.shape[1:], device)
            x, decode = images[indices].to(device), self.decode_to(label)
            yield indices.tolist(), (self.denoise_to(label), self.denoiser.schedule, x, decode, normals)
