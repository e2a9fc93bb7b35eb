"""Stage `report`: the spine's page, index.html and README.md, from what its stages and studies wrote."""

from pathlib import Path

from report.page import build
from report.spine.page import PAGE
from stages.params.params import Params
from stages.shared.command import run


def main(params: Params, *, reports: Path) -> None:
    """Draw the page's pictures and write index.html and README.md in --reports."""
    build(PAGE, reports, params.model_dump())


if __name__ == "__main__":
    run(main)
