"""Stage `report`: one page for a browser and one for people who browse the repository, from everything in --reports."""

import argparse

from diffusion.report.builder import build
from stages.command import run
from stages.params import Params


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Draw the pictures and write index.html and README.md in --reports."""
    build(arguments.reports, params.model_dump())


if __name__ == "__main__":
    run(main, "reports")
