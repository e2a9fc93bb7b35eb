"""Whether an extractor can tell good images from bad ones: real images are spoilt more and more, and every measure of
quality has to get worse from rung to rung.

python -m benchmarks.ladder data.dataset=folder data.root=data/pets data.image_size=32 data.channels=3
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.data import to_float, to_uint8
from diffusion.quality.evaluation import Reference
from diffusion.quality.extractor import describe_by, fitted_extractor
from diffusion.quality.judge import JUDGE, Judge
from diffusion.randomness import generator_for
from diffusion.sources.splits import load_splits
from stages.judge import training_of
from stages.params.params import Params
from stages.shared.machine import machine_of
from stages.shared.progress import run_training

NUM_IMAGES = 1000
TILES = 4  # along each side of an image
DISTANCES = ("fid", "kid")  # rise where quality falls; all others fall with it
MEASURES = (*DISTANCES, "precision", "recall", "clipped_density", "coverage", "clipped_coverage")


class Ladder(NamedTuple):
    """Ways to spoil images: the degrees, mildest first, and the measures that get worse with them.

    `spoil(images, degree, generator)` takes and gives floats (N, C, H, W) in [-1, 1].
    """

    spoil: Callable[[Tensor, float, torch.Generator], Tensor]
    degrees: tuple[float, ...]
    meaning: str
    measures: tuple[str, ...] = MEASURES


def noised(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Images with white noise of this standard deviation."""
    return images + sigma * torch.randn(images.shape, generator=generator)


def blurred(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Images under a Gaussian blur of this standard deviation in pixels."""
    radius, channels = max(1, round(3 * sigma)), images.shape[1]
    kernel = (-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).exp()
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    padded = F.pad(images, [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=channels), kernel.transpose(2, 3), groups=channels)


def flattened(images: Tensor, number: float, generator: torch.Generator) -> Tensor:
    """Images made of their first principal components alone, so many: coloured blobs where they are few."""
    x = images.flatten(1).double()
    centred = x - x.mean(0)
    _, vectors = torch.linalg.eigh(centred @ centred.T)  # of N x N products, ascending
    kept = vectors[:, -int(number) :]
    return (x.mean(0) + kept @ (kept.T @ centred)).float().view(images.shape)


def scrambled(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Images of whose 4 x 4 tiles a share have changed places."""
    side = images.shape[-1] // TILES
    within = images[..., : TILES * side, : TILES * side]
    tiles = F.unfold(within, side, stride=side)  # (N, C * side^2, 16)
    moved = max(2, round(share * TILES**2))
    for image in tiles:
        chosen = torch.randperm(TILES**2, generator=generator)[:moved]
        image[:, chosen] = image[:, chosen.roll(1)]
    spoilt = images.clone()
    spoilt[..., : TILES * side, : TILES * side] = F.fold(tiles, within.shape[-2:], side, stride=side)
    return spoilt


def repeated(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """As many images, of which only this share differ: none is bad, but they show less and less variety."""
    kept = round(share * len(images))
    return images[torch.arange(len(images)) % kept]


LADDERS = {
    "noised": Ladder(noised, (0.05, 0.1, 0.2, 0.4), "standard deviation of white noise"),
    "blurred": Ladder(blurred, (0.6, 1.0, 2.0, 4.0), "pixels of blur"),
    "flattened": Ladder(flattened, (64, 32, 16, 8), "principal components kept"),
    "scrambled": Ladder(
        scrambled, (0.1, 0.25, 0.5, 1.0), "share of tiles moved", tuple(m for m in MEASURES if m != "recall")
    ),
    "repeated": Ladder(repeated, (0.3, 0.1, 0.03, 0.01), "share that differ", (*DISTANCES, "recall", "coverage")),
}


def climb(reference: Reference, ladder: Ladder) -> Iterator[tuple[str, dict[str, float]]]:
    """The degree and the figures of every rung, the real training images first."""
    images = reference.training_draw(NUM_IMAGES, 0).images
    yield "real", figures(reference, images)
    for degree in ladder.degrees:
        spoilt = ladder.spoil(to_float(images), degree, generator_for(reference.seed, "ladder"))
        yield f"{degree:g}", figures(reference, to_uint8(spoilt))


def figures(reference: Reference, images: Tensor) -> dict[str, float]:
    """All measures of at least 500 images, uint8."""
    quality = asdict(reference.quality(reference.judge.see(images).features))
    return {name: quality[name] for name in MEASURES}


def blind_measures(ladder: Ladder, rows: Sequence[dict[str, float]]) -> list[str]:
    """The measures that do not get worse at every rung, although they should; once at 0, a share can fall no more."""

    def worse(name: str, before: float, after: float) -> bool:
        return after > before if name in DISTANCES else after < before or after == before == 0

    pairs = list(zip(rows, rows[1:], strict=False))
    return [name for name in ladder.measures if not all(worse(name, a[name], b[name]) for a, b in pairs)]


def judges(params: Params, names: Sequence[str]) -> Iterator[tuple[str, Reference]]:
    """A judge of the data in params with every extractor of these names; it is trained once."""
    data, (device, precision) = params.data, machine_of(params)
    splits = load_splits(
        data.dataset,
        Path(data.root),
        generator_for(params.seed, "split"),
        data.image_size,
        data.channels,
        data.train_limit,
        data.test_limit,
    )
    described = {name: describe_by(name, Path(params.judge.weights)) for name in names}
    update, learners = training_of(params, splits.train, device, precision, JUDGE)
    run_training("judge", update, learners, params.judge.steps, params.judge.batch_size, params.judge.log_every)
    judge = Judge(learners["judge"].net, device)
    for name, description in described.items():
        extractor = None if description is None else fitted_extractor(name, description, splits.train.images, device)
        yield name, Reference(replace(judge, extractor=extractor), splits.train, splits.test, params.seed)


def main(arguments: argparse.Namespace) -> None:
    """Print a table for every ladder and extractor, and what is blind in it."""
    params = Params.load(Path()).changed(arguments.changes)
    for name, reference in judges(params, arguments.extractors):
        seen = reference.judge.see(reference.test.images).logits.argmax(1)
        right = (seen == reference.test.labels).double().mean().item()
        words, width = reference.judge.features_in_words, reference.test_features.shape[1]
        print(f"\n## {name}: {words}, {width} dimensions; accuracy {right:.3f} on {len(seen)} test images")
        for kind, ladder in LADDERS.items():
            print(f"\n| {kind}: {ladder.meaning} |", " | ".join(MEASURES), "|")
            print("|---" * (1 + len(MEASURES)), "|", sep="")
            rows = []
            for degree, row in climb(reference, ladder):
                rows.append(row)
                print(f"| {degree} |", " | ".join(f"{row[measure]:.3f}" for measure in MEASURES), "|", flush=True)
            print("\nblind:", ", ".join(blind_measures(ladder, rows)) or "none", "of", ", ".join(ladder.measures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__.splitlines()[0])
    parser.add_argument("--extractors", nargs="+", default=["own", "fixed"], metavar="NAME", help="as judge.extractor")
    parser.add_argument("changes", nargs="*", metavar="section.key=value")
    try:
        main(parser.parse_args())
    except ValueError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
