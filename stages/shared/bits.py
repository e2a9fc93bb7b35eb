"""The density part of stage `score`: bits per dimension of test images, and of images that are not from the data."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import Dataset
from diffusion.denoiser import Denoiser
from diffusion.likelihood.bounds import Bound, bits_per_dim, log_snr_range
from diffusion.likelihood.density import Density
from diffusion.randomness import generator_for
from stages.params.keys import Score
from stages.shared.outputs import write_table

TERMS = ("prior", "diffusion", "reconstruction")


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


def write_bits(results: Path, denoiser: Denoiser, train: Dataset, test: Dataset, settings: Score, seed: int) -> None:
    """bits.csv: kinds of images by both bounds, unconditional; test images also class-conditional, and by the bare
    network. terms.csv: what every log-SNR bin adds.
    """
    density = Density.grey_aware(denoiser, train.images, settings.log_snr_bins, settings.ode_tolerance, seed)
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
    write_table(results / "bits.csv", ["kind", "label", "denoiser", "method", "n", "bits", "error", *TERMS], table)
    write_table(results / "terms.csv", ["kind", "log_snr", "t", "bits", "error"], terms)


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
