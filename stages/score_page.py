"""Stage `score_page`: the chapter's page, score.html and score.md, from what its stages and the spine's wrote."""

from pathlib import Path

from report.page import build
from report.score.page import PAGE
from stages.params.params import ScoreParams
from stages.shared.command import run
from stages.shared.publishing import publish

STAGES = ("score",)


def main(params: ScoreParams, *, results: Path, reports: Path) -> None:
    """Publish --results in --reports, draw the page's pictures there and write score.html and score.md."""
    publish(results, reports, STAGES)
    build(PAGE, reports, results, params.model_dump())


if __name__ == "__main__":
    run(main)
