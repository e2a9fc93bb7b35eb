"""The runs that the exercises compare: their measures, with errors, and their differences from the first run."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from report.reading import Reports, flat
from report.spine.training_curves import loss_at_the_end
from report.studies import EXERCISES
from report.wording import differ, number, percent, share_error, spread, whole

SHEET_COLUMNS = 16


class Measure(NamedTuple):
    """A figure of the verdict: its heading, the unit that it is written in, and whether more of it is better."""

    heading: str
    unit: float
    more_is_better: bool


MEASURES = {
    "fid": Measure("FID", 1, False),
    "kid": Measure("KID", 1, False),
    "accuracy": Measure("Class accuracy, %", 0.01, True),
    "precision": Measure("Precision", 1, True),
    "recall": Measure("Recall", 1, True),
    "clipped_density": Measure("Clipped density", 1, True),
    "coverage": Measure("Coverage", 1, True),
    "clipped_coverage": Measure("Clipped coverage", 1, True),
}


def runs_table(reports: Reports) -> pd.DataFrame:
    """A row per run, by its name; the first is the one that the others are compared with.

    Columns: label, schedule, timesteps, train.target, alpha_bar_T, n, calls, shown_calls, loss (at the end), difference
    (root mean square, of its images from those of the first run), and every measure with its `..._error`, NaN where
    there is none.
    """
    about, metrics = EXERCISES.about(reports), reports.record("exercises/metrics.json")
    histories = reports.table("exercises/history.csv").groupby("run")
    images = reports.tiles("exercises/samples.png", len(metrics), SHEET_COLUMNS) / 127.5
    shared = {"train.target": flat(about["params"]).get("train.target")}  # of all runs, unless it is what differs
    rows = []
    for (name, figures), shown in zip(metrics.items(), images, strict=True):
        row = {key: figures[key] for key in ("n", "calls", "shown_calls")} | shared | about["changed"][name]
        row["label"] = f"T = {whole(row['timesteps'])}, {row['schedule']}"
        row["alpha_bar_T"] = about["alpha_bar_T"][name]
        row["loss"] = loss_at_the_end(histories.get_group(name))
        row["difference"] = np.sqrt(np.square(shown - images[0]).mean())
        rows.append(row | _with_errors(figures))
    return pd.DataFrame(rows, index=list(metrics))


def change(runs: pd.DataFrame, run: pd.Series, measure: str) -> str:
    """`same`, `better` or `worse` than the first run, by two standard errors; `same` where no error is known."""
    first = runs.iloc[0]
    if not differ(first[measure], run[measure], first[f"{measure}_error"], run[f"{measure}_error"]):
        return "same"
    return "better" if (run[measure] > first[measure]) == MEASURES[measure].more_is_better else "worse"


def is_better(runs: pd.DataFrame, run: pd.Series) -> bool:
    """Whether a run is better than the first one in distance to real images or in class accuracy, and worse in none."""
    changes = {change(runs, run, measure) for measure in (main_measure(runs), "accuracy")}
    return "better" in changes and "worse" not in changes


def against_first(runs: pd.DataFrame, run: pd.Series) -> str:
    """FID (or KID) and class accuracy of a run beside those of the first one."""
    measure, first = main_measure(runs), runs.iloc[0]
    words = {"same": "the same within the error", "better": "better", "worse": "worse"}
    distance, accuracy = (words[change(runs, run, name)] for name in (measure, "accuracy"))
    return (
        f"{measure.upper()} is {distance} ({number(run[measure])} against {number(first[measure])}, difference "
        f"{difference(first, run, measure)}) and class accuracy {accuracy} ({percent(run['accuracy'])} against "
        f"{percent(first['accuracy'])}, {difference(first, run, 'accuracy')} points)"
    )


def difference(first: pd.Series, run: pd.Series, measure: str) -> str:
    """The difference of a measure between two runs, signed, in its unit and with its error."""
    unit, error = MEASURES[measure].unit, math.hypot(first[f"{measure}_error"], run[f"{measure}_error"])
    value = run[measure] - first[measure]
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{spread(abs(value) / unit, error / unit)}"


def main_measure(runs: pd.DataFrame) -> str:
    """FID, or KID where there are too few samples for one."""
    return "fid" if runs["fid"].notna().all() else "kid"


def run_of(runs: pd.DataFrame, schedule: str, timesteps: int) -> pd.Series:
    """The run with this schedule and T."""
    return runs[(runs["schedule"] == schedule) & (runs["timesteps"] == timesteps)].iloc[0]


def _with_errors(figures: dict[str, Any]) -> dict[str, float]:
    """The measures of a verdict, and their standard errors where these are known."""
    values = {name: figures.get(name) for name in MEASURES} | {"kid": figures["kid"]["mean"]}
    errors: dict[str, float | None] = dict.fromkeys(MEASURES)
    errors |= {"fid": figures["fid_floor"]["std"], "kid": figures["kid"]["std"]}
    shares = {name: figures[name] for name in ("accuracy", "precision") if figures[name] is not None}
    errors |= {name: share_error(share, figures["n"]) for name, share in shares.items()}
    row = values | {f"{name}_error": error for name, error in errors.items()}
    return {name: math.nan if value is None else value for name, value in row.items()}
