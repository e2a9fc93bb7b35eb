"""The lesson's claims beside what was measured, also where the two do not agree: the same table on every page."""

from collections.abc import Sequence
from typing import NamedTuple

from report.content import Cell, Section, Table
from report.wording import listing

AGREES, DISAGREES, OPEN = "agrees", "does not agree", "not measured"
COUNTED = {
    AGREES: "agree with the measurements",
    DISAGREES: "do not agree",
    OPEN: "cannot be decided by one run",
}


class Claim(NamedTuple):
    """A claim, what was measured, and whether they agree."""

    claim: str
    measured: str
    verdict: str


def agreement(agrees: bool) -> str:
    """The verdict on a claim that was measured."""
    return AGREES if agrees else DISAGREES


def claims_table(claims: Sequence[Claim]) -> Section:
    """The section of a page that counts and lists its claims."""
    counts = [(sum(claim.verdict == verdict for claim in claims), verdict) for verdict in COUNTED]
    parts = [f"{count} {_counted(count, verdict)}" for count, verdict in counts if count]
    rows = tuple(tuple(map(Cell, claim)) for claim in claims)
    number = f"Of {len(claims)} claims" if len(claims) > 1 else "Of one claim"
    return Section(
        "claims",
        "The lesson's claims",
        (f"{number}, {listing(parts)}.",),
        (Table("One run, one seed.", ("Claim", "Measured", "Verdict"), (False, False, False), rows),),
    )


def _counted(count: int, verdict: str) -> str:
    singular = {AGREES: "agrees with the measurements", DISAGREES: "does not agree"}
    return singular.get(verdict, COUNTED[verdict]) if count == 1 else COUNTED[verdict]
