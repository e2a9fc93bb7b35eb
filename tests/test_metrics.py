"""The metrics against outside references, closed forms, and themselves at another block size."""

import math

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.stats import betabinom
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from diffusion.quality import classification, metrics


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


REAL = normal(300, 16)
FAKE = 1.3 * normal(250, 16, seed=1) @ torch.diag(torch.linspace(0.5, 1.5, 16)) + 0.4


class Flat(nn.Module):
    """Stands in for Inception: images are their own features."""

    num_features = 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).double()


def images(features: torch.Tensor) -> torch.Tensor:
    return features.view(len(features), 1, 4, 4)


def test_frechet_distance_is_that_of_torchmetrics() -> None:
    reference = FrechetInceptionDistance(feature=Flat(), input_img_size=(1, 4, 4)).set_dtype(torch.float64)
    reference.update(images(REAL), real=True)
    reference.update(images(FAKE), real=False)
    assert metrics.frechet_distance(REAL, FAKE) == pytest.approx(float(reference.compute()), rel=1e-4)


def test_frechet_distance_of_gaussians_in_closed_form() -> None:
    n, mean, scales = 200_000, torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 1.0, 3.0])
    expected = mean.square().sum() + (scales - 1).square().sum()
    measured = metrics.frechet_distance(normal(n, 3), mean + scales * normal(n, 3, seed=1))
    assert measured == pytest.approx(float(expected), rel=0.02)


def test_frechet_distance_of_a_set_to_itself_and_of_degenerate_sets_is_zero() -> None:
    flat = REAL @ normal(16, 3, seed=2) @ normal(3, 16, seed=3)  # dependent features: eigenvalues round below zero
    assert metrics.frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-8)
    assert metrics.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-4)


def test_frechet_distance_is_symmetric() -> None:
    assert metrics.frechet_distance(REAL, FAKE) == pytest.approx(metrics.frechet_distance(FAKE, REAL), rel=1e-9)


def test_kernel_distance_is_that_of_torchmetrics() -> None:
    reference = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=250)
    reference.update(images(REAL[:250]), real=True)
    reference.update(images(FAKE), real=False)
    expected = float(reference.set_dtype(torch.float64).compute()[0])
    assert metrics.kernel_distance(REAL[:250], FAKE, draw()).mean == pytest.approx(expected, rel=1e-4)


def test_kernel_distance_is_unbiased_and_its_error_is_the_spread_over_data() -> None:
    same, other = [], []
    for seed in range(60):
        a, b = normal(64, 8, seed=1000 + seed), normal(120, 8, seed=2000 + seed)
        same.append(metrics.kernel_distance(a, b, draw(seed)).mean)
        other.append(metrics.kernel_distance(a + 0.5, b, draw(seed)))
    error = np.std(same) / math.sqrt(len(same))
    assert abs(np.mean(same)) < 3 * error
    spread = np.std([k.mean for k in other])
    assert np.mean([k.std for k in other]) == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_coverage_are_those_of_prdc(k: int) -> None:
    expected = compute_prdc(REAL.double().numpy(), FAKE.double().numpy(), nearest_k=k)
    measured = metrics.precision_recall_density_coverage(REAL, FAKE, k)._asdict()
    for name in ("precision", "recall", "coverage"):
        assert measured[name] == pytest.approx(float(expected[name]), rel=1e-4)
    assert len(set(measured.values())) == 5  # the five differ, so that none can stand in for another


@pytest.mark.parametrize("good", [0.0, 0.3, 0.7, 1.0])
def test_clipped_density_and_coverage_are_the_share_of_good_samples(good: float) -> None:
    samples = torch.cat([normal(round(1000 * good), 16, seed=1), 30 + normal(round(1000 * (1 - good)), 16, seed=2)])
    found = metrics.precision_recall_density_coverage(normal(1000, 16), samples)
    assert found.clipped_density == pytest.approx(good, abs=0.05)
    assert found.clipped_coverage == pytest.approx(good, abs=0.05)


def test_neither_typical_samples_nor_outliers_among_real_images_inflate_clipped_density() -> None:
    """Density itself is about 1 for bad samples near ten real outliers."""
    real, middle = normal(1000, 16), 0.5 * normal(1000, 16, seed=1)
    assert metrics.precision_recall_density_coverage(real, middle).clipped_density == 1
    outliers = torch.cat([real[:990], 30 + 10 * normal(10, 16, seed=2)])
    near_them = 30 + normal(1000, 16, seed=3)
    density = compute_prdc(outliers.double().numpy(), near_them.double().numpy(), nearest_k=5)["density"]
    assert density > 0.9 and metrics.precision_recall_density_coverage(outliers, near_them).clipped_density == 0


def test_clipped_coverage_falls_with_every_mode_that_is_dropped() -> None:
    real, samples = (normal(1000, 4, seed=s) + 20 * (torch.arange(1000) % 4)[:, None] for s in (0, 1))
    mode = torch.arange(1000) % 4
    found = [
        metrics.precision_recall_density_coverage(real, samples[mode < kept].repeat(4, 1)[:1000]).clipped_coverage
        for kept in (1, 2, 3, 4)
    ]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1], abs=0.1)


def test_the_coverage_expected_of_good_samples_is_that_of_scipy() -> None:
    expected = metrics.expected_coverage(5, 300, 250)
    for m in (0, 1, 4, 5, 100, 250):
        known = betabinom(m, 5, 295).expect(lambda j: np.minimum(j, 5)) / 5
        assert float(expected[m]) == pytest.approx(known, abs=1e-9)
    assert (expected.diff() > 0).all()


def test_block_size_does_not_change_results() -> None:
    labels = torch.arange(len(REAL)) % 3
    for small, large in ((700, 2**22), (1, 2**22)):
        assert metrics.precision_recall_density_coverage(
            REAL, FAKE, max_elements=small
        ) == metrics.precision_recall_density_coverage(REAL, FAKE, max_elements=large)
        kids = [metrics.kernel_distance(REAL, FAKE, draw(), max_elements=m) for m in (small, large)]
        assert kids[0] == pytest.approx(kids[1], rel=1e-9)
        diversities = [metrics.within_class_diversity(REAL, labels, max_elements=m) for m in (small, large)]
        assert diversities[0] == pytest.approx(diversities[1], rel=1e-9)
    blocked, whole = (metrics.nearest_neighbours(FAKE, REAL, block=b) for b in (7, 1024))
    assert torch.equal(blocked.row, whole.row)
    torch.testing.assert_close(blocked.distance, whole.distance)


def test_nearest_neighbours_against_all_differences() -> None:
    distance = (FAKE[:, None] - REAL[None]).double().norm(dim=-1)
    found = metrics.nearest_neighbours(images(FAKE), images(REAL), block=64)
    assert torch.equal(found.row, distance.argmin(1))
    torch.testing.assert_close(found.distance, distance.min(1).values)


def test_memorisation_tells_copies_from_new_images() -> None:
    training, test, new = (images(normal(n, 16, seed=seed)) for n, seed in ((400, 1), (300, 2), (300, 3)))
    copies = metrics.memorisation(training[:50], training, test)
    assert copies.ratio_median == pytest.approx(0, abs=1e-6) and copies.share_below_1_percent == 1
    fresh = metrics.memorisation(new, training, test)
    assert fresh.ratio_median == pytest.approx(1, abs=0.05) and fresh.share_below_1_percent < 0.05


def test_within_class_diversity_in_closed_form() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0], [100.0, 1.0], [100.0, 2.0], [-50.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1, 1, 2])  # class 2 has one member and no distance
    assert metrics.within_class_diversity(features, labels) == pytest.approx((5 + 4 / 3) / 2)
    with pytest.raises(ValueError, match="no class has two"):
        metrics.within_class_diversity(features, torch.arange(6))


def test_sharpness_and_saturation_in_closed_form() -> None:
    ramp = torch.arange(5.0) / 2 + torch.arange(5.0)[:, None] / 4  # steps of 1/2 across, of 1/4 down
    assert metrics.sharpness(ramp.expand(2, 1, 5, 5)) == pytest.approx(1 / 4 + 1 / 16)
    assert metrics.saturation(torch.tensor([[-1.5, -1.0, 0.0, 1.0, 1.1]])) == pytest.approx(0.4)


def test_accuracy_and_confusion() -> None:
    labels, predictions = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 2])
    assert classification.accuracy(predictions, labels) == 0.75
    assert classification.confusion_matrix(predictions, labels, 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


METRICS = {
    "fid": lambda bad: metrics.frechet_distance(REAL, bad),
    "kid": lambda bad: metrics.kernel_distance(REAL, bad, draw()),
    "prdc": lambda bad: metrics.precision_recall_density_coverage(REAL, bad),
    "neighbours": lambda bad: metrics.nearest_neighbours(REAL, bad),
    "memorisation": lambda bad: metrics.memorisation(bad, REAL, REAL),
    "diversity": lambda bad: metrics.within_class_diversity(bad, torch.zeros(len(bad), dtype=torch.long)),
    "sharpness": lambda bad: metrics.sharpness(images(bad)),
    "saturation": lambda bad: metrics.saturation(images(bad)),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_every_metric_refuses_values_that_are_not_finite(name: str, value: float) -> None:
    bad = FAKE.clone()
    bad[7, 3] = value
    with pytest.raises(ValueError, match="1 of 250 samples hold NaN or infinity"):
        METRICS[name](bad)


@pytest.mark.parametrize(
    ("name", "number"), [("fid", 1), ("kid", 3), ("prdc", 5), ("neighbours", 0), ("memorisation", 0)]
)
def test_too_few_samples_are_refused(name: str, number: int) -> None:
    with pytest.raises(ValueError, match="too few"):
        METRICS[name](FAKE[:number])


def test_the_effective_number_of_classes():
    assert classification.effective_number(torch.tensor([7, 7, 7, 0])) == pytest.approx(3)
    assert classification.effective_number(torch.tensor([0, 5])) == pytest.approx(1)
    assert classification.effective_number(torch.tensor([1, 3])) == pytest.approx(4 / 3**0.75)
