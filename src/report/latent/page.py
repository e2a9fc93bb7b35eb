"""The page of the chapter on latent diffusion with text, the lesson's part 7."""

from functools import partial

from report import appendix
from report.content import Tile
from report.latent import captions, claims, comparison, larger, prompts, synonyms
from report.latent.views import VIEWS
from report.page import CURRENT, Page
from report.reading import Reports
from report.studies import LARGER
from report.wording import fixed, number, percent, whole


def headline(reports: Reports) -> str:
    """What the chapter is about, and whether prompts hold."""
    row = prompts.best(reports.table("sample_latent/prompts.csv"))
    return (
        "A denoiser of an autoencoder's latents is conditioned on captions by cross-attention. In combinations never "
        f"seen in training, {percent(row['accuracy'])} of its images show the class that the prompt names and "
        f"{percent(row['held_out'])} the property that was held out; {prompts.recall_in_words(row)}."
    )


def tiles(reports: Reports) -> list[Tile]:
    """Cost, quality and prompts."""
    ratio, latent = comparison.costs(reports), reports.record("sample_latent/metrics.json")
    pixel, row = reports.record("evaluate/metrics.json"), prompts.best(reports.table("sample_latent/prompts.csv"))
    return [
        Tile("Training images per second", f"{number(ratio['training'])} ×", "those of pixel space"),
        Tile("Samples per second", f"{number(ratio['sample'])} ×", "decoding included"),
        Tile("Class accuracy", percent(latent["accuracy"]), f"pixel space {percent(pixel['accuracy'])}"),
        Tile("Recall", fixed(latent["recall"]), f"pixel space {fixed(pixel['recall'])}"),
        Tile("Held-out property", percent(row["held_out"]), f"chance {percent(prompts.CHANCE)}, n = {whole(row['n'])}"),
    ]


PAGE = Page(
    name="latent",
    headline=headline,
    tiles=tiles,
    models={"latent denoiser": "sample_latent/model.json", "denoiser": CURRENT},
    sections=(
        comparison.section,
        larger.section,
        captions.section,
        prompts.section,
        synonyms.section,
        claims.section,
        partial(
            appendix.section,
            stages=("autoencoder", "train_latent", "sample_latent"),
            file="chapters/latent/params.yaml",
            keys=("autoencoder", "captions", "text", "latent", "train_latent", "sample_latent"),
        ),
    ),
    studies={LARGER: larger.findings},
    views=VIEWS,
)
