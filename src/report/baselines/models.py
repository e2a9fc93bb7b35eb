"""The three models: their names, looks and rows."""

import pandas as pd

from report.plots.style import LINES, Look
from report.reading import Reports
from report.wording import nfe

NAMES = {"diffusion": "Diffusion", "gan": "GAN", "vae": "VAE"}
LOOKS = {
    "Diffusion": Look("#0072B2", LINES[0], "o"),
    "GAN": Look("#D55E00", LINES[0], "s"),
    "VAE": Look("#009E73", LINES[0], "^"),
}
BITS = "score/bits.csv"  # the density of diffusion, where that chapter has measured it


def first_rows(quality: pd.DataFrame) -> pd.DataFrame:
    """A row per model: of diffusion that with the most network evaluations."""
    return quality.sort_values("calls", ascending=False).drop_duplicates("model")


def row_of(rows: pd.DataFrame, model: str) -> pd.Series:
    """The row of a model in `first_rows`."""
    return rows[rows["model"] == model].iloc[0]


def fastest(clock: pd.DataFrame) -> pd.DataFrame:
    """Of every model and number of evaluations the batch size with the most images per second."""
    return clock.loc[clock.groupby(["model", "calls"], sort=False)["images_per_second"].idxmax()]


def labels(rows: pd.DataFrame) -> list[str]:
    """Names of rows of `model, calls`."""
    return [named(model, calls) for model, calls in zip(rows["model"], rows["calls"], strict=True)]


def named(model: str, calls: float) -> str:
    """A model's name, with the number of network evaluations where it can have several."""
    return f"{NAMES[model]}, {nfe(calls)}" if model == "diffusion" else NAMES[model]


def densities(reports: Reports) -> pd.DataFrame:
    """Bits per dimension of test images: `model, bound, bits, error, n`, of the VAE, which is class-conditional, and
    of diffusion where the chapter on the score has measured them."""
    of_vae = reports.table("compare/density.csv")
    if BITS not in reports:
        return of_vae
    rows = reports.table(BITS)
    rows = rows[(rows["kind"] == rows["kind"].iloc[0]) & (rows["denoiser"] != "network")]  # the first kind: test images
    conditional = rows["label"].map({"class": "class-conditional", "none": "unconditional"})
    bounds = rows["method"].replace({"bound": "variational bound"}) + ", " + conditional
    return pd.concat([rows.assign(model="diffusion", bound=bounds)[of_vae.columns], of_vae])


def of_densities(density: pd.DataFrame) -> pd.DataFrame:
    """The rows that bound or estimate a density; the others are parts of one."""
    return density[~density["bound"].str.startswith("KL")]
