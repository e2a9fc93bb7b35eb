"""The chapter on the baselines in DVC's own views."""

from report.baselines.models import first_rows, row_of
from report.reading import Reports
from report.views import Plot, Views, fid_or_kid


def figures(reports: Reports) -> dict[str, float | None]:
    """The quality of the GAN and the VAE, and what each is known to lack."""
    best = first_rows(reports.table("compare/quality.csv"))
    gan, vae = row_of(best, "gan"), row_of(best, "vae")
    return {
        **fid_or_kid(gan, "gan_"),
        **fid_or_kid(vae, "vae_"),
        "gan_coverage": gan["coverage_within"],
        "vae_sharpness": vae["sharpness"],
    }


def plots(reports: Reports) -> dict[str, Plot]:
    """None: the losses of both trainings are plots as their stages write them."""
    return {}


VIEWS = Views(figures, plots)
