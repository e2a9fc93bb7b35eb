"""Stage `report`: one page for a browser and one for people who browse the repository, from everything in --reports."""

from pathlib import Path

from report.builder import build
from stages.params.params import Params
from stages.shared.command import run


def main(params: Params, *, reports: Path) -> None:
    """Draw the pictures and write index.html and README.md in --reports."""
    build(reports, params.model_dump())


if __name__ == "__main__":
    run(main)
