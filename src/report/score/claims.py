"""The lesson's claims that this chapter decides."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from report.claims import Claim, agreement, claims_table
from report.content import Section
from report.reading import Reports
from report.score.known_scores import median_error
from report.wording import percent, whole

GOOD_SCORE_ERROR = 0.1


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """A row per claim."""
    return claims_table([*score_claims(reports.table("score/mixture_error.csv"))])


def score_claims(errors: pd.DataFrame) -> Iterator[Claim]:
    """About the score."""
    error = median_error(errors)
    yield Claim(
        "A network that predicts ε knows the score",
        f"on mixtures of Gaussians, where the score is known, the learned one is off by {percent(error)} of its size "
        f"(median over {whole(len(errors))} noise levels and mixtures)",
        agreement(error < GOOD_SCORE_ERROR),
    )
