"""The lesson's summary table of diffusion, GAN and VAE, each entry beside what was measured, also where they differ."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from report.baselines.entries import COLLAPSED, FAST, GOOD, Measured, coverage, likelihood, looks, speed, stability
from report.baselines.models import NAMES, densities, first_rows, labels
from report.claims import DISAGREES, OPEN, agreement
from report.classes import models_sheet
from report.content import Block, Cell, Section, Table, Text
from report.reading import Reports
from report.studies import STABILITY
from report.wording import duration, listing, number, percent, whole

LESSON = {
    # property: (diffusion, GAN, VAE)
    "Training stability": ("very high", "low", "high"),
    "Image quality": ("best", "good", "blurry"),
    "Sampling speed": ("slow", "fast", "fast"),
    "Mode coverage": ("good", "mode collapse", "good"),
    "Density estimation": ("possible", "not possible", "possible"),
}
TRAINED_IN = {"diffusion": "train", "gan": "gan", "vae": "vae"}  # stage, and section of params


class Entry(NamedTuple):
    """An entry of the table: what the lesson says, what was measured, whether they agree."""

    name: str
    model: str
    lesson: str
    measured: str
    verdict: str


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Samples of the three, the lesson's table, and what each model was trained with."""
    quality = reports.table("compare/quality.csv")
    entries = list(judged(reports))
    blocks = (
        *samples_picture(reports, quality),
        entries_table(entries, quality["n"].iloc[0]),
        Text(budgets(reports, params)),
    )
    return Section("table", "The lesson's table", (verdict_answer(entries),), blocks)


def judged(reports: Reports) -> Iterator[Entry]:
    """Every entry, property by property."""
    best, clock = first_rows(reports.table("compare/quality.csv")), reports.table("compare/timing.csv")
    floor, density = reports.record("compare/metrics.json")["floor"], densities(reports)
    runs = reports.table("stability/runs.csv") if STABILITY.speaks(reports) else None
    measures: dict[str, Callable[[str], Measured]] = {
        "Training stability": lambda model: stability(model, runs),
        "Image quality": lambda model: looks(model, best, floor),
        "Sampling speed": lambda model: speed(model, clock),
        "Mode coverage": lambda model: coverage(model, best, floor),
        "Density estimation": lambda model: likelihood(model, density),
    }
    for name, words in LESSON.items():
        for model, word in zip(NAMES, words, strict=True):
            text, earned = measures[name](model)
            yield Entry(name, NAMES[model], word, text, OPEN if earned is None else agreement(word in earned))


def verdict_answer(entries: list[Entry]) -> str:
    """How many entries of the lesson's table the measurements agree with, and which not."""
    measured = [entry for entry in entries if entry.verdict != OPEN]
    wrong = [f"{e.model} on {e.name.lower()} (“{e.lesson}”)" for e in measured if e.verdict == DISAGREES]
    agree = (
        f"Of {len(entries)} entries of the lesson's table {len(measured)} were measured and "
        f"{len(measured) - len(wrong)} agree"
    )
    return f"{agree}; the others are {listing(wrong)}." if wrong else f"{agree}."


def entries_table(entries: list[Entry], n: float) -> Table:
    """The two tables as one; n samples of each model."""
    caption = (
        f"The lesson's table beside the measurements, n = {whole(n)} samples of each model. Best: the lowest FID; "
        f"good: {percent(GOOD)} of what real images score; blurry: sharpness (gradient energy) under {percent(GOOD)} "
        f"of that of real images; fast: {FAST} times the images per second of diffusion with all its evaluations; "
        f"collapsed: a class is missing, or coverage within a class is under {percent(COLLAPSED)} of that of real "
        "images."
    )
    headings = ("Property", "Model", "The lesson says", "Measured", "Verdict")
    return Table(caption, headings, (False,) * 5, tuple(tuple(map(Cell, entry)) for entry in entries))


def samples_picture(reports: Reports, quality: pd.DataFrame) -> list[Block]:
    """The models below each other."""
    rows = ["real images", *labels(quality)]
    caption = "The first two samples of every class by every model, not selected, below two test images of the class."
    alt = "Samples of diffusion, GAN and VAE for the same classes"
    return models_sheet(reports, "samples", "compare/samples.png", rows, caption, alt)


def budgets(reports: Reports, params: dict[str, Any]) -> str:
    """What each model was trained with."""
    weights = reports.record("compare/metrics.json")["parameters"]
    parts = []
    for model, stage in TRAINED_IN.items():
        timing, training = reports.record(f"{stage}/timing.json"), params[stage]
        more = timing["parameters"] > weights[model]
        trained = f" ({whole(timing['parameters'])} in training)" if more else ""
        parts.append(
            f"{NAMES[model]} {whole(training['steps'] * training['batch_size'])} images, "
            f"{duration(timing['seconds'])}, {whole(weights[model])} parameters{trained}"
        )
    kl_weight = number(params["vae"]["kl_weight"], 2)
    blocks = " and built from the same blocks" if params["model"]["kind"] == "unet" else ""
    return (
        f"Training budgets: {'; '.join(parts)}. All three are class-conditional{blocks}. The "
        "GAN has a gradient penalty on real images (R1), and its samples come from averaged weights. The VAE's "
        f"gradient weights the KL by {kl_weight}, which makes its samples better and its bound worse; the bound shown "
        "weights it by 1."
    )
