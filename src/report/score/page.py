"""The page of the chapter on the score-based view, the lesson's part 6."""

from functools import partial

from report import appendix
from report.content import Tile
from report.page import Page
from report.reading import Reports
from report.score import claims, inpainting, inversion, known_scores, likelihood, likelihood_study, samplers
from report.score.views import VIEWS
from report.studies import DENSITY
from report.wording import number, percent, whole


def headline(reports: Reports) -> str:
    """What the chapter is about, and its main figure."""
    error = known_scores.median_error(reports.table("score/mixture_error.csv"))
    return (
        "A denoiser estimates the score, the gradient of the log-density, and so it samples by SDEs and ODEs, has a "
        f"likelihood, and runs backwards. Where the true score is known, the learned one is off by {percent(error)}."
    )


def tiles(reports: Reports) -> list[Tile]:
    """A figure of every section."""
    errors, bits = reports.table("score/mixture_error.csv"), reports.table("score/bits.csv")
    measure, best = samplers.best_of_kinds(reports.table("score/samplers.csv"))
    sampler = min(best, key=lambda row: row[measure])
    bound, back = bits[bits["method"] == "bound"].iloc[0], reports.table("score/inversion.csv").iloc[-1]
    return [
        Tile("Error of the score", percent(known_scores.median_error(errors)), "median over noise levels"),
        Tile(
            f"Best {measure.upper()}", number(sampler[measure]), f"{samplers.named(sampler)}, n = {whole(sampler['n'])}"
        ),
        Tile("Bits per dimension", number(bound["bits"]), f"± {number(bound['error'], 2)}, variational bound"),
        Tile("To noise and back", number(back["rms_error"]), f"root mean square, {whole(back['steps'])} steps"),
    ]


PAGE = Page(
    name="score",
    headline=headline,
    tiles=tiles,
    models={"denoiser": "score/model.json"},
    sections=(
        known_scores.section,
        samplers.section,
        likelihood.section,
        inversion.section,
        inpainting.section,
        claims.section,
        partial(appendix.section, stages=(), file="chapters/score/params.yaml", keys=("score",)),
    ),
    studies={DENSITY: likelihood_study.findings},
    views=VIEWS,
)
