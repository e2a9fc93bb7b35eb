"""The sliced Wasserstein distance of the comparison of distances on few samples."""

import pytest
import torch

from benchmarks.small_n import draws, sliced_wasserstein


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def directions() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("number", [20_000, 7_000])
def test_sliced_wasserstein_of_gaussians_in_closed_form(number: int) -> None:
    """Along a direction their means differ by that of the shift, and their spreads by 1; in 6 dimensions."""
    shift = torch.tensor([3.0, 0.0, -1.0, 0.0, 0.0, 0.0])
    measured = sliced_wasserstein(normal(20_000, 6, seed=1), 2 * normal(number, 6, seed=2) + shift, directions())
    assert measured == pytest.approx(10 + 6 * 1, rel=0.03)


def test_sliced_wasserstein_of_a_set_to_itself_is_zero_and_shrinks_with_n() -> None:
    a = normal(500, 6, seed=1)
    assert sliced_wasserstein(a, a[torch.randperm(500)], directions()) == pytest.approx(0, abs=1e-12)
    few, many = (sliced_wasserstein(normal(n, 6, seed=2), normal(5000, 6, seed=3), directions()) for n in (50, 1000))
    assert few > 5 * many


def test_draws_are_of_the_pool_without_repeats() -> None:
    found = draws(torch.arange(30.0)[:, None], 20)
    assert all(len(rows.unique()) == 20 for rows in found) and not torch.equal(found[0], found[1])
