"""Bits per dimension of the models that have a density."""

from typing import Any

import pandas as pd

from report.baselines.models import NAMES, densities, of_densities
from report.classes import models_sheet
from report.content import Block, Column, Section, Table, table
from report.reading import Reports
from report.wording import fixed, listing, number, spread, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Bounds and estimates, and what the VAE's latent keeps."""
    density = densities(reports)
    blocks = (density_table(density), *reconstructions(reports))
    return Section("density", "Density", (density_answer(density),), blocks)


def density_answer(density: pd.DataFrame) -> str:
    """The tightest figure of every model that has one."""
    tightest = of_densities(density).sort_values("bits").drop_duplicates("model")
    parts = [
        f"{NAMES[row['model']]} {spread(row['bits'], row['error'])} ({row['bound']}, n = {whole(row['n'])})"
        for row in tightest.to_dict("records")
    ]
    return f"Bits per dimension of 8-bit test images, lower is better: {listing(parts)}; a GAN has none."


def density_table(density: pd.DataFrame) -> Table:
    """Every bound and estimate of log p(x)."""
    columns: list[Column] = [
        ("model", "Model", NAMES.__getitem__),
        ("bound", "Bound or estimate", str),
        ("bits", "Bits per dimension", lambda value: fixed(value, 3)),
        ("error", "± error", lambda value: number(value, 2)),
        ("n", "n", whole),
    ]
    caption = (
        "Density of 8-bit test images, given their class unless a row says unconditional; error: one standard error "
        "over images. Each pixel of the VAE has a mixture of discretised logistics, so its bound is one of "
        "probabilities, as those of other models of 8-bit images are. The GAN has no density."
    )
    return table(density, columns, caption)


def reconstructions(reports: Reports) -> list[Block]:
    """What the VAE's latent keeps."""
    caption = (
        "Test images above what the VAE makes of them: encoded to the mean of their latent, decoded to mean pixels."
    )
    rows, alt = ["test image", "through the VAE"], "Test images above their reconstructions by the VAE"
    return models_sheet(reports, "reconstructions", "compare/reconstructions.png", rows, caption, alt)
