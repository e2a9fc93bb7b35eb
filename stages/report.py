"""Stage `report`: the spine's page, index.html and README.md, from what its stages and studies wrote."""

from pathlib import Path

from report.page import build
from report.spine.page import PAGE
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.publishing import publish

STAGES = ("data", "judge", "schedules", "train", "evaluate", "benchmark", "guidance")


def main(params: Params, *, results: Path, reports: Path) -> None:
    """Publish --results in --reports, draw the page's pictures there and write index.html and README.md."""
    publish(results, reports, STAGES)
    build(PAGE, reports, results, params.model_dump())


if __name__ == "__main__":
    run(main)
