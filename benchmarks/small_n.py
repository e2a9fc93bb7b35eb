"""Which distance to trust on few samples: how FID, KID and MIND move with n alone, and how well each tells spoilt
images from real ones.

python -m benchmarks.small_n

reads the images that the pipeline prepared and its judge. Every draw takes n training images at random, spoilt in one
way or left as they are, and measures them against the whole test split.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from benchmarks.ladder import blurred, noised
from diffusion.data import Dataset, load_both, to_float
from diffusion.quality.judge import Judge
from diffusion.quality.metrics import frechet_distance, kernel_distance
from diffusion.randomness import generator_for

NUMBERS = (100, 200, 500, 1000)
DRAWS = 20
DIRECTIONS = 1000
SPOILT: dict[str, Callable[[Dataset], Tensor]] = {
    "real": lambda data: to_float(data.images),
    "noise 0.4": lambda data: noised(to_float(data.images), 0.4, generator_for(0, "small n")).clamp(-1, 1),
    "blur 0.8": lambda data: blurred(to_float(data.images), 0.8, generator_for(0, "small n")),
    "a class missing": lambda data: to_float(data.images[data.labels > 0]),
}


def sliced_wasserstein(a: Tensor, b: Tensor, generator: torch.Generator, directions: int = DIRECTIONS) -> float:
    """MIND (Berthet et al. 2026): the squared 2-Wasserstein distance of features (N, D) and (M, D) along random
    directions, averaged over these and times D, so that sets that differ by a shift score its squared length.

    Between sets of unequal size quantile functions are compared, at the middles of max(N, M) equal parts.
    """
    a, b = a.double(), b.double()
    axes = torch.randn(a.shape[1], directions, generator=generator, dtype=torch.float64)
    axes = axes / axes.norm(dim=0)
    number = max(len(a), len(b))
    middles = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    along_a, along_b = ((x @ axes).sort(0).values[(middles * len(x)).long()] for x in (a, b))
    return a.shape[1] * (along_a - along_b).square().mean().item()


DISTANCES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "FID": frechet_distance,
    "KID": lambda a, b: kernel_distance(a, b, generator_for(0, "small n"), num_halves=2).mean,
    "MIND": lambda a, b: sliced_wasserstein(a, b, generator_for(0, "small n")),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a row per distance and n: its mean and spread on real images, and how far spoilt ones lie above them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/processed"))
    parser.add_argument("--judge", type=Path, default=Path("models/judges/judge.safetensors"))
    args = parser.parse_args(argv)
    train, test = load_both(args.data)
    judge = Judge.load(args.judge, torch.device("cpu"))
    reference = judge.see(test.images).features
    pools = {name: judge.see(spoil(train)).features for name, spoil in SPOILT.items()}
    spoilt = [name for name in SPOILT if name != "real"]
    print("distance", "n", "real", "spread", *spoilt, sep="\t")
    for name, distance in DISTANCES.items():
        for number in NUMBERS:
            found = {kind: [distance(part, reference) for part in draws(pool, number)] for kind, pool in pools.items()}
            real, spread = mean(found["real"]), stdev(found["real"])
            apart = [(mean(found[kind]) - real) / ((spread**2 + stdev(found[kind]) ** 2) / 2) ** 0.5 for kind in spoilt]
            print(name, number, f"{real:.4g}", f"{spread:.2g}", *(f"{value:.1f}" for value in apart), sep="\t")


def draws(pool: Tensor, number: int) -> list[Tensor]:
    """DRAWS times `number` rows of a pool at random."""
    orders = (torch.randperm(len(pool), generator=generator_for(0, "small n", draw)) for draw in range(DRAWS))
    return [pool[order[:number]] for order in orders]


if __name__ == "__main__":
    main()
