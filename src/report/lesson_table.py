"""The lesson's summary table of diffusion, GAN and VAE, each entry beside what was measured, also where they differ."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from report.claims import AGREES, DISAGREES, OPEN
from report.content import Cell, Table
from report.reading import Reports
from report.wording import calls_of, fixed, listing, number, percent, spread, whole

NAMES = {"diffusion": "Diffusion", "gan": "GAN", "vae": "VAE"}
LESSON = {
    # property: (diffusion, GAN, VAE)
    "Training stability": ("very high", "low", "high"),
    "Image quality": ("best", "good", "blurry"),
    "Sampling speed": ("slow", "fast", "fast"),
    "Mode coverage": ("good", "mode collapse", "good"),
    "Density estimation": ("possible", "not possible", "possible"),
}
GOOD = 0.9  # of what real images score: good precision, coverage, sharpness
COLLAPSED = 0.5  # of the coverage of real images within a class
FAST = 10  # times the images per second of diffusion with all its calls
STEADY = 0.9  # of the best run's class accuracy: a run below it has failed
STABILITY, SCORE = "stability/runs.csv", "score/bits.csv"


class Measured(NamedTuple):
    """What was measured of a property and a model, and which of the lesson's words it earns."""

    text: str
    earned: frozenset[str] | None  # None: not measured


class Entry(NamedTuple):
    """An entry of the table: what the lesson says, what was measured, whether they agree."""

    name: str
    model: str
    lesson: str
    measured: str
    verdict: str


def judged(
    reports: Reports, best: pd.DataFrame, clock: pd.DataFrame, floor: dict[str, Any], density: pd.DataFrame
) -> Iterator[Entry]:
    """Every entry, property by property."""
    measures: dict[str, Callable[[str], Measured]] = {
        "Training stability": lambda model: stability(reports, model),
        "Image quality": lambda model: looks(model, best, floor),
        "Sampling speed": lambda model: speed(model, clock),
        "Mode coverage": lambda model: coverage(model, best, floor),
        "Density estimation": lambda model: likelihood(model, density),
    }
    for name, words in LESSON.items():
        for model, word in zip(NAMES, words, strict=True):
            text, earned = measures[name](model)
            verdict = OPEN if earned is None else AGREES if word in earned else DISAGREES
            yield Entry(name, NAMES[model], word, text, verdict)


def looks(model: str, best: pd.DataFrame, floor: dict[str, Any]) -> Measured:
    """`best` has the lowest FID, `good` the precision of real images nearly, `blurry` less sharpness than they."""
    row = best.loc[model]
    text = f"precision {fixed(row['precision'])}, sharpness {fixed(row['sharpness'])} of real images"
    if pd.isna(row["fid"]):
        return Measured(f"KID {spread(row['kid'], row['kid_std'])}, {text}", None)
    words = {
        "best": row["fid"] == best["fid"].min(),
        "good": row["precision"] >= GOOD * floor["mean"]["precision"],
        "blurry": row["sharpness"] < GOOD,
    }
    return Measured(f"FID {number(row['fid'])}, {text}", _earned(words))


def speed(model: str, clock: pd.DataFrame) -> Measured:
    """`fast` makes ten times the images per second of diffusion with all its calls, else `slow`."""
    rates = fastest(clock)
    own = rates[rates["model"] == model].sort_values("calls", ascending=False)
    slowest = rates.loc[rates["calls"].idxmax(), "images_per_second"]
    parts = [f"{number(rate)} with {calls_of(calls)}" for calls, rate in own[["calls", "images_per_second"]].values]
    is_fast = own["images_per_second"].iloc[0] >= FAST * slowest
    return Measured(f"{listing(parts)} (images / s)", _earned({"fast": is_fast, "slow": not is_fast}))


def coverage(model: str, best: pd.DataFrame, floor: dict[str, Any]) -> Measured:
    """`good` covers nearly as much within a class as real images; a collapsed model misses classes, or half of it."""
    row, real = best.loc[model], floor["mean"]
    text = f"{whole(row['classes'])} classes, {number(row['effective_classes'])} if equally frequent"
    if pd.isna(row["coverage_within"]):
        return Measured(text, None)
    share, all_there = row["coverage_within"] / real["coverage_within"], row["classes"] >= round(real["classes"])
    words = {"good": all_there and share >= GOOD, "mode collapse": not all_there or share < COLLAPSED}
    return Measured(
        f"coverage within a class {fixed(row['coverage_within'])} (real images {fixed(real['coverage_within'])}), "
        f"recall {fixed(row['recall'])}; {text}",
        _earned(words),
    )


def likelihood(model: str, density: pd.DataFrame) -> Measured:
    """`possible` where there is a bound or an estimate of log p(x)."""
    rows = density[(density["model"] == model) & ~density["bound"].str.startswith("KL")]
    if rows.empty and model == "diffusion":
        return Measured("stage `score` has not run", None)
    if rows.empty:
        return Measured("none: a GAN has no density", _earned({"not possible": True}))
    parts = [f"{spread(bits, error)} ({bound})" for bound, bits, error in rows[["bound", "bits", "error"]].values]
    return Measured(f"{listing(parts)} bits per dimension", _earned({"possible": True}))


def stability(reports: Reports, model: str) -> Measured:
    """`high`, and `very high`, if no run of the study has failed; else `low`."""
    if STABILITY not in reports:
        return Measured("`make study STUDY=stability` measures it", None)
    runs = reports.table(STABILITY)
    own = runs[runs["model"] == model]
    failed = own["diverged_at"].notna() | (own["accuracy"] < STEADY * runs["accuracy"].max())
    text = (
        f"{whole(failed.sum())} of {whole(len(own))} runs failed; class accuracy "
        f"{percent(own['accuracy'].min())} to {percent(own['accuracy'].max())}"
    )
    steady = not failed.any()
    return Measured(text, _earned({"very high": steady, "high": steady, "low": not steady}))


def densities(reports: Reports) -> pd.DataFrame:
    """Bits per dimension of test images: `model, bound, bits, error, n`, of the VAE, which is told the class, and of
    diffusion where stage `score` has measured them."""
    of_vae = reports.table("compare/density.csv")
    if SCORE not in reports:
        return of_vae
    rows = reports.table(SCORE)
    rows = rows[(rows["kind"] == rows["kind"].iloc[0]) & (rows["denoiser"] != "network")]  # the first kind: test images
    told = rows["label"].map({"class": "told the class", "none": "not told the class"})
    bounds = rows["method"].replace({"bound": "variational bound"}) + ", " + told
    return pd.concat([rows.assign(model="diffusion", bound=bounds)[of_vae.columns], of_vae])


def fastest(clock: pd.DataFrame) -> pd.DataFrame:
    """Of every model and number of calls the batch size with the most images per second."""
    return clock.loc[clock.groupby(["model", "calls"], sort=False)["images_per_second"].idxmax()]


def lesson_table(entries: list[Entry], n: float) -> Table:
    """The two tables as one; n samples of each model."""
    caption = (
        f"The lesson's table beside the measurements, n = {whole(n)} samples of each model. Best: the lowest FID; "
        f"good: {percent(GOOD)} of what real images score; blurry: sharpness (gradient energy) under {percent(GOOD)} "
        f"of that of real images; fast: {FAST} times the images per second of diffusion with all its calls; collapsed: "
        "a class is missing, or half of the coverage within one."
    )
    headings = ("Property", "Model", "The lesson says", "Measured", "Verdict")
    return Table(caption, headings, (False,) * 5, tuple(tuple(map(Cell, entry)) for entry in entries))


def labels(rows: pd.DataFrame) -> list[str]:
    """Names of rows of `model, calls`."""
    return [named(model, calls) for model, calls in zip(rows["model"], rows["calls"], strict=True)]


def named(model: str, calls: float) -> str:
    """A model's name, with the number of calls where it can have several."""
    return f"{NAMES[model]}, {calls_of(calls)}" if model == "diffusion" else NAMES[model]


def _earned(words: dict[str, bool]) -> frozenset[str]:
    return frozenset(word for word, earned in words.items() if earned)
