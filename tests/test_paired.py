"""Shares with their intervals, and samples compared pair by pair, against scipy."""

import pytest
from scipy.stats import binomtest

from report.paired import Pairs, pairs, pairs_in_words
from report.wording import MISSING, NB, share_of, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 32), (32, 32), (953, 1000), (1, 2), (500, 1000)])
def test_the_interval_of_a_share_is_wilsons(right: int, n: int) -> None:
    known = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right / n, n) == pytest.approx((known.low, known.high), abs=1e-6)


def test_a_share_is_written_with_its_interval_where_it_has_one() -> None:
    assert share_of(0.971, 1000).replace(NB, " ") == "97.1 % (95.9 to 98.0)"
    assert share_of(None, 10) == MISSING and share_of(float("nan"), 10) == MISSING
    assert "(" not in share_of(0.5, 0) and "nan" not in share_of(float("inf"), 10)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 1), (5, 0), (0, 6), (12, 3), (40, 41), (300, 200)])
def test_mcnemars_test_is_the_binomial_one_of_the_unequal_pairs(gained: int, lost: int) -> None:
    known = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert Pairs(gained, lost).p == pytest.approx(known)


def test_pairs_are_counted_where_both_have_a_sample() -> None:
    assert pairs("xx..x", "x.xxx.") == Pairs(gained=2, lost=1)
    assert pairs("." * 6, "x" * 6).movement == "rises" and pairs("x" * 6, "." * 6).movement == "falls"
    assert pairs("." * 5, "x" * 5).movement == "stays"  # five can be chance: p = 0.06
    words = pairs_in_words(Pairs(12, 3), "w = 1", "w = 3")
    assert words.startswith("from the same start noise 12 are recognised with w = 3 alone and 3 with w = 1 alone")
    assert words.endswith("p = 0.035") and pairs_in_words(Pairs(30, 0), "a", "b").endswith("p < 0.001")
