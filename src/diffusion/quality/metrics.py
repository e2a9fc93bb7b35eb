"""Metrics on features and images. Distances are computed in float64 and in blocks, so memory stays bounded.

Features are (N, D), images (N, C, H, W), of any float type and on any device. Every function raises ValueError for
values that are not finite.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5  # the k of precision, recall, densities and coverages
MAX_ELEMENTS = 2**22  # of one block of distances: 32 MiB


class KernelDistance(NamedTuple):
    """MMD^2 over all samples, and its standard error."""

    mean: float
    std: float


class Prdc(NamedTuple):
    """Fidelity (precision, clipped density) and diversity (recall, coverage, clipped coverage) of fake samples."""

    precision: float
    recall: float
    clipped_density: float
    coverage: float
    clipped_coverage: float


class Neighbours(NamedTuple):
    """For each row its nearest neighbour: its distance float64 (N,) and row (N,)."""

    distance: Tensor
    row: Tensor


class Memorisation(NamedTuple):
    """How close samples are to training images, compared with how close real test images are."""

    ratio_median: float | None
    share_below_1_percent: float | None
    median_samples: float
    median_test: float
    first_percentile_test: float


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Frechet distance of the Gaussians fitted to two sets of features (FID, Heusel et al. 2017, eq. 6).

    The trace of (S1 S2)^1/2 is the sum of the roots of the eigenvalues of the symmetric S1^1/2 S2 S1^1/2. Raises
    ValueError for fewer than 2 samples. It depends on the number of samples: compare with a floor of the same number.
    """
    a, b = _features(a, 2), _features(b, 2)
    covariance_a, covariance_b = (torch.atleast_2d(features.T.cov()) for features in (a, b))
    values, vectors = torch.linalg.eigh(covariance_a)
    root_a = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product = root_a @ covariance_b @ root_a
    root_trace = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    mean_term = (a.mean(0) - b.mean(0)).square().sum()
    distance = mean_term + torch.trace(covariance_a + covariance_b) - 2 * root_trace
    return distance.clamp(min=0).item()


def kernel_distance(
    a: Tensor, b: Tensor, generator: torch.Generator, num_halves: int = 100, max_elements: int = MAX_ELEMENTS
) -> KernelDistance:
    """Unbiased MMD^2 with the kernel (x.y / D + 1)^3 (KID, Binkowski et al. 2018, section 4).

    `mean` is the estimate from all samples, unbiased at any number of them. `std` is the spread of the estimate over
    `num_halves` random halves of both sets, an estimate of the standard error of `mean` (delete-half jackknife, Shao &
    Wu 1989) that is too large where both sets come from the same distribution. Raises ValueError for fewer than 4
    samples.
    """
    a, b = _features(a, 4), _features(b, 4)
    chosen_a, chosen_b = (_all_and_halves(len(x), num_halves, generator).to(x.device) for x in (a, b))
    within_a = _kernel_sums(a, a, chosen_a, chosen_a, max_elements, skip_diagonal=True)
    within_b = _kernel_sums(b, b, chosen_b, chosen_b, max_elements, skip_diagonal=True)
    between = _kernel_sums(a, b, chosen_a, chosen_b, max_elements)
    n, m = chosen_a.sum(0), chosen_b.sum(0)
    estimates = within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)
    return KernelDistance(estimates[0].item(), estimates[1:].std().item())


def precision_recall_density_coverage(
    real: Tensor, fake: Tensor, k: int = NEIGHBOURS, max_elements: int = MAX_ELEMENTS
) -> Prdc:
    """Whether samples lie in the k-nearest-neighbour balls of the other set; every measure is a share.

    Precision and recall: Kynkaanniemi et al. 2019, eq. 2; coverage: Naeem et al. 2020, eq. 5. Clipped density and
    coverage: Salvy et al. 2026 (arXiv 2507.01761), by which a share g of good samples among hopeless ones scores g:

    - Clipped density: a sample counts by the balls around real images that it lies in, over k and at most 1, in balls
      whose radius is at most the median one, so that an outlier among real images does not welcome anything. The mean
      is divided by that of real images in the balls of the others, and is at most 1.
    - Clipped coverage: a real image counts by the samples in its ball, over k and at most 1. The mean is turned into
      the share of good samples from which it is expected.

    Raises ValueError unless both sets have more than k samples.
    """
    real, fake = _features(real, k + 1), _features(fake, k + 1)
    radius_real, radius_fake = (_kth_neighbour_distance(x, k, max_elements) for x in (real, fake))
    clipped = radius_real.clamp(max=radius_real.quantile(0.5))
    balls_around_fake, clipped_balls = torch.zeros(2, len(fake), dtype=torch.long, device=fake.device)
    in_ball, recalled = torch.zeros_like(radius_real), 0
    for rows, distance in _distance_blocks(real, fake, max_elements):
        inside = distance < radius_real[rows, None]
        balls_around_fake += inside.sum(0)
        clipped_balls += (distance <= clipped[rows, None]).sum(0)
        in_ball[rows] = inside.sum(1).double()
        recalled += int((distance < radius_fake).any(1).sum())
    of_real = _share_of(_balls_around(real, clipped, max_elements), k)
    return Prdc(
        precision=(balls_around_fake > 0).double().mean().item(),
        recall=recalled / len(real),
        clipped_density=min(1.0, _share_of(clipped_balls, k) / of_real),
        coverage=(in_ball > 0).double().mean().item(),
        clipped_coverage=_good_share(_share_of(in_ball, k), k, len(real), len(fake)),
    )


def nearest_neighbours(
    a: Tensor, b: Tensor, block: int = 1024, to_float: Callable[[Tensor], Tensor] = lambda x: x
) -> Neighbours:
    """The nearest row of b for every row of a, by Euclidean distance of the flattened rows.

    a (N, ...) and b (M, ...) go through `to_float` block by block: `block` rows, or fewer where these have more than
    MAX_ELEMENTS. Raises ValueError if one of them is empty.
    """
    block = max(1, min(block, MAX_ELEMENTS // max(1, a[:1].numel())))
    found = [_nearest(to_float(rows), b.flatten(1), block, to_float) for rows in a.flatten(1).split(block)]
    return Neighbours(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def memorisation(
    samples: Tensor,
    training: Tensor,
    test: Tensor,
    to_float: Callable[[Tensor], Tensor] = lambda x: x,
) -> Memorisation:
    """Distance in pixels of samples to their nearest training image, over that of real test images to theirs.

    A ratio of medians near 1 means new images, near 0 copies. `share_below_1_percent` is the share of samples closer
    to a training image than all but 1 % of the test images are. Each is None where test images are training images too,
    so that it is not defined. Images (N, C, H, W) in [-1, 1], once they have gone
    through `to_float`.
    """
    of_samples = nearest_neighbours(samples, training, to_float=to_float).distance
    of_test = nearest_neighbours(test, training, to_float=to_float).distance
    threshold, median_test = of_test.quantile(0.01), of_test.quantile(0.5)
    median = of_samples.quantile(0.5)
    return Memorisation(
        ratio_median=(median / median_test).item() if median_test > 0 else None,
        share_below_1_percent=(of_samples < threshold).double().mean().item() if threshold > 0 else None,
        median_samples=median.item(),
        median_test=median_test.item(),
        first_percentile_test=threshold.item(),
    )


def within_class_diversity(features: Tensor, labels: Tensor, max_elements: int = MAX_ELEMENTS) -> float:
    """Mean distance between two samples of the same class, averaged over the classes that have two: labels (N,).

    Raises ValueError if no class has two samples.
    """
    features = _features(features, 2)
    by_class = [features[labels == label] for label in labels.unique()]
    means = [_mean_pairwise_distance(members, max_elements) for members in by_class if len(members) > 1]
    if not means:
        raise ValueError("diversity within a class: no class has two samples (allowed: at least 2)")
    return sum(means) / len(means)


def sharpness(images: Tensor) -> float:
    """Mean gradient energy: squared differences of neighbouring pixels, vertical plus horizontal, for [-1, 1]."""
    _refuse_not_finite(images)
    number, channels, height, width = images.shape
    down = across = 0.0
    for block in images.split(1024):
        down += block.double().diff(dim=-2).square().sum().item()
        across += block.double().diff(dim=-1).square().sum().item()
    return (down / ((height - 1) * width) + across / (height * (width - 1))) / (number * channels)


def saturation(images: Tensor) -> float:
    """Share of pixels outside of [-1, 1]."""
    _refuse_not_finite(images)
    return (images.abs() > 1).double().mean().item()


def _refuse_not_finite(x: Tensor) -> None:
    bad = int((~x.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise ValueError(f"metrics: {bad} of {len(x)} samples hold NaN or infinity (allowed: finite values)")


def _features(x: Tensor, least: int) -> Tensor:
    """Features as float64 (N, D), on the CPU if the device has no float64. Raises ValueError for less than `least`."""
    if len(x) < least:
        raise ValueError(f"metrics: {len(x)} samples are too few (allowed: at least {least})")
    _refuse_not_finite(x)
    return (x.cpu() if x.device.type == "mps" else x).double()


def _distance_blocks(a: Tensor, b: Tensor, max_elements: int) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances of some rows of a to all of b, as (rows, (n, len(b))) with n * len(b) <= max_elements."""
    rows_per_block = max(1, max_elements // len(b))
    for start in range(0, len(a), rows_per_block):
        rows = slice(start, start + rows_per_block)
        yield rows, torch.cdist(a[rows], b)


def _kth_neighbour_distance(x: Tensor, k: int, max_elements: int) -> Tensor:
    """The distance (N,) of every row to its k-th nearest other row; the row itself is the nearest of all."""
    return torch.cat([d.kthvalue(k + 1, dim=1).values for _, d in _distance_blocks(x, x, max_elements)])


def _balls_around(x: Tensor, radius: Tensor, max_elements: int) -> Tensor:
    """In how many balls (N,) of the given radii (N,) around other rows every row lies."""
    balls = torch.zeros(len(x), dtype=torch.long, device=x.device)
    for rows, distance in _distance_blocks(x, x, max_elements):
        inside = distance <= radius[rows, None]
        inside.diagonal(rows.start).fill_(False)
        balls += inside.sum(0)
    return balls


def _share_of(counts: Tensor, k: int) -> float:
    """The mean of counts over k, of which none counts more than 1."""
    return (counts.double() / k).clamp(max=1).mean().item()


def _good_share(value: float, k: int, num_real: int, num_fake: int) -> float:
    """The smallest share of good samples from which a mean of clipped coverage of `value` or more is expected."""
    expected = expected_coverage(k, num_real, num_fake)
    return min(int(torch.searchsorted(expected, value)), num_fake) / num_fake


def expected_coverage(k: int, num_real: int, num_fake: int) -> Tensor:
    """The expected mean (num_fake + 1,), float64, of clipped coverage by 0, 1, ... num_fake good samples.

    The k-th neighbour of a real image has a probability mass of Beta(k, N - k) within its distance, so the number of
    good samples there is beta-binomial.
    """
    m, j = torch.arange(num_fake + 1.0, dtype=torch.float64)[:, None], torch.arange(float(k), dtype=torch.float64)
    others = num_real - k

    def log_beta(a: Tensor | float, b: Tensor | float) -> Tensor:
        a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
        return a.lgamma() + b.lgamma() - (a + b).lgamma()

    rest = (m - j).clamp(min=0)
    log_choose = (m + 1).lgamma() - (j + 1).lgamma() - (rest + 1).lgamma()
    log_probability = log_choose + log_beta(k + j, others + rest) - log_beta(k, others)
    probability = log_probability.exp() * (j <= m)
    return 1 - ((k - j) * probability).sum(1) / k


def _mean_pairwise_distance(x: Tensor, max_elements: int) -> float:
    """The mean over pairs of different rows; the diagonal is set to 0, which a matrix product only approximates."""
    total = 0.0
    for rows, distance in _distance_blocks(x, x, max_elements):
        distance.diagonal(rows.start).zero_()
        total += distance.sum().item()
    return total / (len(x) * (len(x) - 1))


def _nearest(rows: Tensor, b: Tensor, block: int, to_float: Callable[[Tensor], Tensor]) -> Neighbours:
    rows = _features(rows, 1)
    best = Neighbours(rows.new_full((len(rows),), torch.inf), rows.new_zeros(len(rows), dtype=torch.long))
    for start in range(0, max(1, len(b)), block):
        others = _features(to_float(b[start : start + block]), 1).to(rows.device)
        distance, index = torch.cdist(rows, others).min(dim=1)
        closer = distance < best.distance
        best = Neighbours(distance.where(closer, best.distance), (index + start).where(closer, best.row))
    return best


def _all_and_halves(number: int, num_halves: int, generator: torch.Generator) -> Tensor:
    """Indicators float64 (number, 1 + num_halves): all samples, then random halves of them."""
    chosen = torch.zeros(number, 1 + num_halves, dtype=torch.float64)
    chosen[:, 0] = 1
    for half in range(1, num_halves + 1):
        chosen[torch.randperm(number, generator=generator, device=generator.device)[: number // 2].cpu(), half] = 1
    return chosen


def _kernel_sums(
    a: Tensor, b: Tensor, chosen_a: Tensor, chosen_b: Tensor, max_elements: int, skip_diagonal: bool = False
) -> Tensor:
    """The sums (S,) of the cubic kernel over the pairs of chosen samples, for each of S choices."""
    rows_per_block = max(1, max_elements // len(b))
    sums = torch.zeros(chosen_a.shape[1], dtype=torch.float64, device=a.device)
    for start in range(0, len(a), rows_per_block):
        rows = slice(start, start + rows_per_block)
        kernel = (a[rows] @ b.T / a.shape[1] + 1) ** 3
        if skip_diagonal:
            kernel.diagonal(start).zero_()
        sums += (chosen_a[rows] * (kernel @ chosen_b)).sum(0)
    return sums
