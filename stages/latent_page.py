"""Stage `latent_page`: the chapter's page, latent.html and latent.md, from what its stages and the spine's wrote."""

from pathlib import Path

from report.latent.page import PAGE
from report.page import build
from stages.params.params import LatentParams
from stages.shared.command import run


def main(params: LatentParams, *, reports: Path) -> None:
    """Draw the page's pictures and write latent.html and latent.md in --reports."""
    build(PAGE, reports, params.model_dump())


if __name__ == "__main__":
    run(main)
