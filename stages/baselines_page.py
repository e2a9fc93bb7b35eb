"""Stage `baselines_page`: the chapter's page, baselines.html and .md, from what its stages and the spine's wrote."""

from pathlib import Path

from report.baselines.page import PAGE
from report.page import build
from stages.params.params import BaselineParams
from stages.shared.command import run


def main(params: BaselineParams, *, reports: Path) -> None:
    """Draw the page's pictures and write baselines.html and baselines.md in --reports."""
    build(PAGE, reports, params.model_dump())


if __name__ == "__main__":
    run(main)
