"""Class accuracy from the same start noise and classes: samples are compared one by one, not as two shares."""

from math import comb
from typing import NamedTuple

from report.wording import fixed, whole

SIGNIFICANT = 0.05
RECOGNISED = "x"  # of a sample, in column `recognised` of the tables


class Pairs(NamedTuple):
    """Of pairs of samples, how many only the second way has recognised, and how many only the first."""

    gained: int
    lost: int

    @property
    def p(self) -> float:
        """McNemar's exact test, two-sided: how often chance alone parts the unequal pairs so unevenly or more."""
        unequal = self.gained + self.lost
        tail = sum(comb(unequal, k) for k in range(min(self) + 1))
        return min(1.0, 2 * tail / 2**unequal)

    @property
    def movement(self) -> str:
        """`rises`, `falls` or `stays`: class accuracy from the first way to the second."""
        if self.p >= SIGNIFICANT:
            return "stays"
        return "rises" if self.gained > self.lost else "falls"


def pairs(before: str, after: str) -> Pairs:
    """Pairs from two entries of column `recognised`, as far as both go."""
    both = list(zip(before, after, strict=False))
    return Pairs(both.count((".", RECOGNISED)), both.count((RECOGNISED, ".")))


def chance(p: float) -> str:
    """p < 0.001, or p = 0.04."""
    return "p < 0.001" if p < 0.001 else f"p = {fixed(p, 3 if p < 0.1 else 2)}"


def pairs_in_words(found: Pairs, before: str, after: str) -> str:
    """How many samples only one of two ways has recognised, and whether that can be chance."""
    return (
        f"from the same start noise {whole(found.gained)} are recognised with {after} alone and {whole(found.lost)} "
        f"with {before} alone, McNemar's exact test {chance(found.p)}"
    )
