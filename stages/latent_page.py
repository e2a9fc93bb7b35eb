"""Stage `latent_page`: the chapter's page, latent.html and latent.md, from what its stages and the spine's wrote."""

from pathlib import Path

from report.latent.page import PAGE
from report.page import build
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.publishing import publish

STAGES = ("autoencoder", "captions", "train_latent", "sample_latent")


def main(params: LatentParams, *, results: Path, reports: Path) -> None:
    """Publish --results in --reports, draw the page's pictures there and write latent.html and latent.md."""
    publish(results, reports, STAGES)
    build(PAGE, reports, results, params.model_dump())


if __name__ == "__main__":
    run(main)
