"""What was measured of each property, and which of the lesson's words it earns."""

from typing import Any, NamedTuple

import pandas as pd

from report.baselines.models import fastest, of_densities, row_of
from report.wording import fixed, listing, nfe, number, percent, ratio, spread, whole

GOOD = 0.9  # of what real images score: good precision, coverage, sharpness
COLLAPSED = 0.5  # of the coverage of real images within a class
FAST = 10  # times the images per second of diffusion with all its evaluations
STEADY = 0.9  # of the best run's class accuracy: a run below it has failed


class Measured(NamedTuple):
    """What was measured of a property and a model, and the lesson's words that it earns."""

    text: str
    earned: frozenset[str] | None  # None: not measured


def looks(model: str, best: pd.DataFrame, floor: dict[str, Any]) -> Measured:
    """`best` has the lowest FID, `good` nearly the precision of real images, `blurry` less sharpness than they."""
    row = row_of(best, model)
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
    """`fast` makes ten times the images per second of diffusion with all its evaluations, else `slow`."""
    rates = fastest(clock)
    own = rates[rates["model"] == model].sort_values("calls", ascending=False)
    slowest = rates["images_per_second"].iloc[rates["calls"].argmax()]
    parts = [f"{number(rate)} with {nfe(calls)}" for calls, rate in own[["calls", "images_per_second"]].values]
    is_fast = own["images_per_second"].iloc[0] >= FAST * slowest
    return Measured(f"{listing(parts)} (images / s)", _earned({"fast": is_fast, "slow": not is_fast}))


def coverage(model: str, best: pd.DataFrame, floor: dict[str, Any]) -> Measured:
    """`good` covers nearly as much within a class as real images; a collapsed model misses classes, or half of it."""
    row, real = row_of(best, model), floor["mean"]
    text = f"{whole(row['classes'])} classes, {number(row['effective_classes'])} if equally frequent"
    if pd.isna(row["coverage_within"]) or not real["coverage_within"]:
        return Measured(text, None)
    share, all_there = ratio(row["coverage_within"], real["coverage_within"]), row["classes"] >= round(real["classes"])
    words = {"good": all_there and share >= GOOD, "mode collapse": not all_there or share < COLLAPSED}
    return Measured(
        f"coverage within a class {fixed(row['coverage_within'])} (real images {fixed(real['coverage_within'])}), "
        f"recall {fixed(row['recall'])}; {text}",
        _earned(words),
    )


def likelihood(model: str, density: pd.DataFrame) -> Measured:
    """`possible` where there is a bound or an estimate of log p(x)."""
    rows = of_densities(density[density["model"] == model])
    if rows.empty and model == "diffusion":
        return Measured("`dvc repro chapters/score/dvc.yaml` measures it", None)
    if rows.empty:
        return Measured("none: a GAN has no density", _earned({"not possible": True}))
    parts = [f"{spread(bits, error)} ({bound})" for bound, bits, error in rows[["bound", "bits", "error"]].values]
    return Measured(f"{listing(parts)} bits per dimension", _earned({"possible": True}))


def stability(model: str, runs: pd.DataFrame | None) -> Measured:
    """`high`, and `very high`, if no run of the study has failed; else `low`."""
    if runs is None:
        return Measured("`make study STUDY=stability` measures it", None)
    own = runs[runs["model"] == model]
    failed = own["diverged_at"].notna() | (own["accuracy"] < STEADY * runs["accuracy"].max())
    text = (
        f"{whole(failed.sum())} of {whole(len(own))} runs failed; class accuracy "
        f"{percent(own['accuracy'].min())} to {percent(own['accuracy'].max())}"
    )
    steady = not failed.any()
    return Measured(text, _earned({"very high": steady, "high": steady, "low": not steady}))


def _earned(words: dict[str, bool]) -> frozenset[str]:
    return frozenset(word for word, earned in words.items() if earned)
