"""Latents and pixels on larger images: the committed results of `make study STUDY=larger`."""

from typing import Any

import pandas as pd

from report.content import Column, Section, Table, table
from report.reading import Reports
from report.studies import LARGER, Findings, section_of
from report.wording import fixed, listing, number, percent, whole


def section(reports: Reports, params: dict[str, Any]) -> Section | None:
    """Answer and table; nothing where the study does not speak of the page's data."""
    return section_of(LARGER, findings, reports, params)


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """Answer and table."""
    rows = reports.table("larger/larger.csv")
    return Findings((larger_answer(rows),), (larger_table(rows),))


def larger_answer(rows: pd.DataFrame) -> str:
    """Speed at the smallest and the largest size, and quality after as many seconds."""
    sizes = rows["size"].min(), rows["size"].max()
    small, large = (rates(rows, size) for size in sizes)
    quality = []
    for size in sizes:
        latents, pixels = same_seconds(rows, size)
        quality.append(f"at {whole(size)} latents have FID {number(latents['fid'])}, pixels {number(pixels['fid'])}")
    return (
        f"At {whole(sizes[0])} pixels a side latents train on {number(small)} times as many images per second as "
        f"pixels do, at {whole(sizes[1])} on {number(large)} times as many (`make study STUDY=larger`, "
        f"class-conditional models). After as many seconds, those for the autoencoder included, {listing(quality)}."
    )


def larger_table(rows: pd.DataFrame) -> Table:
    """A row per size and space."""
    columns: list[Column] = [
        ("size", "Side", whole),
        ("space", "Space", str),
        ("seen", "Images seen", whole),
        ("seconds", "Training, s", whole),
        ("autoencoder_seconds", "Autoencoder, s", whole),
        ("images_per_second", "Images/s", number),
        ("sample_ms", "Sample, ms", number),
        ("fid", "FID", number),
        ("accuracy", "Class accuracy", percent),
        ("precision", "Precision", fixed),
        ("coverage", "Coverage", fixed),
    ]
    caption = (
        f"Latents, pixels for as many images seen, and pixels for as many seconds as latents and autoencoder took; "
        f"n = {whole(rows['n'].iloc[0])}, samples judged at {whole(rows['size'].min())} pixels a side, one seed."
    )
    return table(rows, columns, caption)


def rates(rows: pd.DataFrame, size: int) -> float:
    """How many times as many images per second latents train on, at this size."""
    by_space = rows[rows["size"] == size].groupby("space")["images_per_second"].max()
    return by_space["latent"] / by_space["pixel"]


def same_seconds(rows: pd.DataFrame, size: int) -> tuple[pd.Series, pd.Series]:
    """The rows of latents, and of pixels that were trained for as many seconds, at this size."""
    of_size = rows[rows["size"] == size]
    latents, pixels = (of_size[of_size["space"] == space].iloc[-1] for space in ("latent", "pixel"))
    return latents, pixels
