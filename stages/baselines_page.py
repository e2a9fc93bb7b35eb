"""Stage `baselines_page`: the chapter's page, baselines.html and .md, from what its stages and the spine's wrote."""

from pathlib import Path

from report.baselines.page import PAGE
from report.page import build
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.publishing import publish

STAGES = ("vae", "gan", "compare")


def main(params: BaselineParams, *, results: Path, reports: Path) -> None:
    """Publish --results in --reports, draw the page's pictures there and write baselines.html and baselines.md."""
    publish(results, reports, STAGES)
    build(PAGE, reports, results, params.model_dump())


if __name__ == "__main__":
    run(main)
