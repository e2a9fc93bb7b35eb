"""The density part of stage `score`: bits per dimension of test images, and of images that are not from the data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import Dataset
from diffusion.denoiser import Denoise, Denoiser, conditional
from diffusion.likelihood.bounds import (
    Bound,
    Decode,
    bits_per_dim,
    by_shares,
    grey_aware,
    log_snr_range,
    ode_bound,
    root_mean_square_errors,
    variational_bound,
)
from diffusion.likelihood.greys import Greys
from diffusion.randomness import generator_for, image_noise
from diffusion.schedule import NoiseSchedule
from stages.params.keys import Score
from stages.shared.outputs import write_table

BATCH = 32  # the decoder and grey awareness hold 256 numbers for every pixel of a batch
ERROR_LEVELS, ERROR_IMAGES = 25, 64
TERMS = ("prior", "diffusion", "reconstruction")

Batch = tuple[Denoise, NoiseSchedule, Tensor, Decode, Iterator[Tensor]]


@dataclass(frozen=True, eq=False)
class Density:
    """A denoiser with what turns it into a density of images; the figures of image k are a function of (seed, k)."""

    denoiser: Denoiser
    denoise_to: Callable[[Tensor], Denoise]  # of labels (B,)
    decode_to: Callable[[Tensor], Decode]  # of labels (B,)
    settings: Score
    seed: int

    @classmethod
    def of(cls, denoiser: Denoiser, train: Dataset, settings: Score, seed: int) -> Self:
        """A grey-aware density, with grey values and errors from training images alone."""
        images = train.images[:: max(1, len(train.images) // ERROR_IMAGES)][:ERROR_IMAGES].to(denoiser.device)
        null = torch.full((len(images),), denoiser.null, device=denoiser.device)
        normals = image_noise(seed, "score/errors", range(len(images)), images.shape[1:], denoiser.device)
        errors = root_mean_square_errors(conditional(denoiser, null), denoiser.schedule, images, normals, ERROR_LEVELS)
        greys, errors = Greys.of(train.images.to(denoiser.device)), errors.cpu()

        def aware(labels: Tensor) -> Denoise:
            return grey_aware(conditional(denoiser, labels), denoiser.schedule, greys, errors)

        return cls(denoiser, aware, lambda labels: by_shares(denoiser.schedule, greys), settings, seed)

    def bare(self) -> Self:
        """The same density from the estimates of the network itself."""
        return replace(self, denoise_to=partial(conditional, self.denoiser))

    def bound(self, images: Tensor, labels: Tensor) -> Bound:
        """The variational bound of uint8 images (N, C, H, W), in nats, on the CPU."""
        parts = []
        for indices, batch in self._batches(images, labels):
            generators = (generator_for(self.seed, "score/times", index) for index in indices)
            shares = torch.stack([torch.rand(self.settings.log_snr_bins, generator=g) for g in generators])
            parts.append([term.cpu() for term in variational_bound(*batch, shares)])
        return Bound(*(torch.cat(terms) for terms in zip(*parts, strict=True)))

    def by_ode(self, images: Tensor, labels: Tensor) -> Tensor:
        """-log P of uint8 images (N,), in nats, on the CPU."""
        return torch.cat(
            [ode_bound(*batch, self.settings.ode_tolerance).cpu() for _, batch in self._batches(images, labels)]
        )

    def _batches(self, images: Tensor, labels: Tensor) -> Iterator[tuple[list[int], Batch]]:
        """(indices, the arguments common to both bounds) of every batch."""
        device = self.denoiser.device
        for indices in torch.arange(len(images)).split(BATCH):
            label = labels[indices].to(device)
            normals = image_noise(self.seed, "score/bits", indices.tolist(), images.shape[1:], device)
            x, decode = images[indices].to(device), self.decode_to(label)
            yield indices.tolist(), (self.denoise_to(label), self.denoiser.schedule, x, decode, normals)


def upside_down(images: Tensor, _: int) -> Tensor:
    """The images rotated by half a turn."""
    return images.flip(2, 3)


def shuffled(images: Tensor, seed: int) -> Tensor:
    """The pixels of every image in a random order of its own: the same grey values, no strokes."""
    number = images[0].numel()
    orders = [torch.randperm(number, generator=generator_for(seed, "score/shuffle", k)) for k in range(len(images))]
    return images.flatten(1).gather(1, torch.stack(orders)).view_as(images)


def uniform_noise(images: Tensor, seed: int) -> Tensor:
    """Images whose grey values are all equally likely."""
    return torch.randint(0, 256, images.shape, generator=generator_for(seed, "score/uniform")).to(torch.uint8)


KINDS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "test images": lambda images, _: images,
    "test images, upside down": upside_down,
    "test images, pixels shuffled": shuffled,
    "uniform noise": uniform_noise,
}


def write_bits(report: Path, denoiser: Denoiser, train: Dataset, test: Dataset, settings: Score, seed: int) -> None:
    """bits.csv: kinds of images by both bounds, unconditional; test images also class-conditional, and by the bare
    network. terms.csv: what every log-SNR bin adds.
    """
    density = Density.of(denoiser, train, settings, seed)
    test, few = test.take(slice(settings.likelihood_images)), settings.ode_images
    null = torch.full_like(test.labels, denoiser.null)
    table, terms = [], []
    for kind, change in tqdm(KINDS.items(), desc="bits", unit="kind"):
        images = change(test.images, seed)
        bound = density.bound(images, null)
        table.append([kind, "none", "grey-aware", "bound", *bound_figures(bound, images)])
        of_few = Bound(*(term[:few] for term in bound))
        table.append([kind, "none", "grey-aware", "bound of the ODE's images", *bound_figures(of_few, images)])
        terms += [[kind, *row] for row in term_rows(bound, images, denoiser)]
        by_ode = bits_per_dim(density.by_ode(images[:few], null[:few]), images)
        table.append([kind, "none", "grey-aware", "ODE", *mean_and_error(by_ode), *[None] * len(TERMS)])
    kind, images = next(iter(KINDS)), test.images
    of_class, bare = density.bound(images, test.labels), density.bare().bound(images, null)
    table.append([kind, "class", "grey-aware", "bound", *bound_figures(of_class, images)])
    table.append([kind, "none", "network", "bound", *bound_figures(bare, images)])
    write_table(report / "bits.csv", ["kind", "label", "denoiser", "method", "n", "bits", "error", *TERMS], table)
    write_table(report / "terms.csv", ["kind", "log_snr", "t", "bits", "error"], terms)


def bound_figures(bound: Bound, images: Tensor) -> list[float]:
    """n, bits per dimension, their standard error, and the mean of every term in bits."""
    terms = (bound.prior, bound.diffusion.sum(1), bound.reconstruction)
    means = [bits_per_dim(term, images).mean().item() for term in terms]
    return [*mean_and_error(bits_per_dim(bound.total(), images)), *means]


def mean_and_error(values: Tensor) -> list[float]:
    """n, the mean of values (N,), and its standard error."""
    return [len(values), values.mean().item(), values.std().item() / len(values) ** 0.5]


def term_rows(bound: Bound, images: Tensor, denoiser: Denoiser) -> Iterator[list[float]]:
    """For every log-SNR bin its middle, the t there, its bits per dimension and their standard error."""
    first, last = log_snr_range(denoiser.schedule)
    number = bound.diffusion.shape[1]
    for index, nats in enumerate(bound.diffusion.unbind(1)):
        log_snr = first + (last - first) * (index + 0.5) / number
        t = denoiser.schedule.time_of_log_snr(log_snr).item()
        _, mean, error = mean_and_error(bits_per_dim(nats, images))
        yield [log_snr, t, mean, error]
