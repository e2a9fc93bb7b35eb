"""The page of the chapter on the baselines: diffusion beside a GAN and a VAE, the lesson's part 10."""

from functools import partial

from report import appendix
from report.baselines import density, lesson_table, quality, speed, stability
from report.baselines.models import NAMES, first_rows, row_of
from report.baselines.views import VIEWS
from report.claims import AGREES, OPEN
from report.content import Tile
from report.page import Page
from report.reading import Reports
from report.studies import STABILITY
from report.wording import fixed, number, percent, ratio, spread


def headline(reports: Reports) -> str:
    """What the chapter is about."""
    return (
        "A GAN and a VAE, trained on as many images, stand beside the diffusion model as baselines: "
        "quality, coverage, speed, density and stability, judged alike."
    )


def tiles(reports: Reports) -> list[Tile]:
    """The quality of each model, and how many entries of the lesson's table agree."""
    best = first_rows(reports.table("compare/quality.csv"))
    measure = "kid" if best["fid"].isna().any() else "fid"
    floor = reports.record("compare/metrics.json")["floor"]
    beside = {
        "diffusion": f"real images {spread(floor['mean'][measure], floor['std'][measure])}",
        "gan": f"coverage {fixed(row_of(best, 'gan')['coverage_within'])} in a class",
        "vae": f"sharpness {fixed(row_of(best, 'vae')['sharpness'])} of real images",
    }
    models = [
        Tile(f"{measure.upper()}, {NAMES[name]}", number(row_of(best, name)[measure]), beside[name]) for name in NAMES
    ]
    verdicts = [entry.verdict for entry in lesson_table.judged(reports) if entry.verdict != OPEN]
    agree = Tile("The lesson's table", percent(ratio(verdicts.count(AGREES), len(verdicts))), "of its entries agree")
    return [*models, agree]


PAGE = Page(
    name="baselines",
    headline=headline,
    tiles=tiles,
    models={"denoiser": "compare/model.json"},
    sections=(
        lesson_table.section,
        quality.section,
        speed.section,
        density.section,
        stability.section,
        partial(
            appendix.section,
            stages=("vae", "gan", "compare"),
            file="chapters/baselines/params.yaml",
            keys=("vae", "gan", "compare"),
        ),
    ),
    studies={STABILITY: stability.findings},
    views=VIEWS,
)
