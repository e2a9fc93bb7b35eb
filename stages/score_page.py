"""Stage `score_page`: the chapter's page, score.html and score.md, from what its stages and the spine's wrote."""

from pathlib import Path

from report.page import build
from report.score.page import PAGE
from stages.params.params import ScoreParams
from stages.shared.command import run


def main(params: ScoreParams, *, reports: Path) -> None:
    """Draw the page's pictures and write score.html and score.md in --reports."""
    build(PAGE, reports, params.model_dump())


if __name__ == "__main__":
    run(main)
