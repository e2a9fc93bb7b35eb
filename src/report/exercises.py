"""What the lesson's exercises ask for beyond one run: the committed results of `make study STUDY=exercises`."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from report.content import Cell, Picture, Section, Table, Text
from report.frontier import other_params
from report.plots.sheet import labelled_sheet
from report.plots.training import training_losses
from report.reading import EXERCISES, Reports
from report.training import LOSSES, PURE_NOISE_AMPLITUDE, loss_at_the_end, thinned
from report.wording import MISSING, differ, listing, number, percent, share_error, spread, whole

STABILITY = "stability/runs.csv"
SHEET_COLUMNS = 16
CURVE_POINTS = 70  # few enough to tell apart curves that lie close together


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
    "density": Measure("Density", 1, True),
    "coverage": Measure("Coverage", 1, True),
}


def exercises_section(reports: Reports, params: dict[str, Any]) -> list[Section]:
    """The runs side by side; nothing where there are none (about.json is written last)."""
    if EXERCISES not in reports:
        return []
    runs, about = runs_table(reports), reports.record(EXERCISES)
    answer = (chain_answer(runs), cosine_answer(runs), caution(reports, runs, about["params"]["seed"]))
    blocks = (
        *map(Text, other_params(about["params"], params)),
        samples_picture(reports, runs),
        changes_table(runs, about["changed"]),
        quality_table(runs, next(iter(reports.record("exercises/metrics.json").values()))),
        curves(reports, runs, about["params"]["train"]),
        Text(losses_compare(runs, about["params"]["train"]["times"])),
    )
    return [Section("exercises", "Exercises side by side", answer, blocks, "Exercises 2 and 3")]


def runs_table(reports: Reports) -> pd.DataFrame:
    """A row per run, by its name; the first is the one that the others are held against.

    Columns: label, schedule, timesteps, alpha_bar_T, n, calls, shown_calls, loss (at the end), difference (root mean
    square, of its images from those of the first run), and every measure with its `..._error`, NaN where there is none.
    """
    about, metrics = reports.record(EXERCISES), reports.record("exercises/metrics.json")
    histories = reports.table("exercises/history.csv").groupby("run")
    images = reports.tiles("exercises/samples.png", len(metrics), SHEET_COLUMNS) / 127.5
    rows = []
    for (name, figures), shown in zip(metrics.items(), images, strict=True):
        row = {key: figures[key] for key in ("n", "calls", "shown_calls")} | about["changed"][name]
        row["label"] = f"T = {whole(row['timesteps'])}, {row['schedule']}"
        row["alpha_bar_T"] = about["alpha_bar_T"][name]
        row["loss"] = loss_at_the_end(histories.get_group(name))
        row["difference"] = np.sqrt(np.square(shown - images[0]).mean())
        rows.append(row | _with_errors(figures))
    return pd.DataFrame(rows, index=list(metrics))


def change(runs: pd.DataFrame, run: pd.Series, measure: str) -> str:
    """`same`, `better` or `worse` than the first run, by two standard errors; `same` where no error is known."""
    first, error = runs.iloc[0], f"{measure}_error"
    if not differ(first[measure], run[measure], first[error], run[error]):
        return "same"
    return "better" if (run[measure] > first[measure]) == MEASURES[measure].more_is_better else "worse"


def chain_answer(runs: pd.DataFrame) -> str:
    """Exercise 3: what happens with T = 200 in training."""
    scaled, unscaled = _run(runs, "linear", 200), _run(runs, "linear_unscaled", 200)
    return (
        f"Trained with T = 200 in place of {whole(runs.iloc[0]['timesteps'])} and betas rescaled to it, "
        f"{against_first(runs, scaled)}. With the lesson's betas unscaled, {against_first(runs, unscaled)}: x at T "
        f"still holds {percent(math.sqrt(unscaled['alpha_bar_T']))} of the image's amplitude there, and sampling "
        "starts from noise alone."
    )


def cosine_answer(runs: pd.DataFrame) -> str:
    """Exercise 2: whether cosine is the better schedule once both are trained."""
    cosine = _run(runs, "cosine", 1000)
    shows = "shows" if is_better(runs, cosine) else "does not show"
    return (
        f"Trained with the cosine schedule in place of linear, {against_first(runs, cosine)}: that cosine performs "
        f"better {shows} here."
    )


def cosine_is_better(reports: Reports) -> tuple[str, bool]:
    """The measurement behind the claim, in words, and whether the two agree."""
    runs = runs_table(reports)
    cosine = _run(runs, "cosine", 1000)
    text = f"trained with cosine in place of linear, {against_first(runs, cosine)}; n = {whole(cosine['n'])} each"
    return text, is_better(runs, cosine)


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
    """Of a measure between two runs, signed, in its unit and with its error."""
    unit, error = MEASURES[measure].unit, math.hypot(first[f"{measure}_error"], run[f"{measure}_error"])
    value = run[measure] - first[measure]
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{spread(abs(value) / unit, error / unit)}"


def caution(reports: Reports, runs: pd.DataFrame, seed: int) -> str:
    """What the errors leave out, and how large that is where `stability` has measured it."""
    text = (
        f"All were trained once, with seed {seed}: the errors are those of sampling, n = {whole(runs['n'].iloc[0])} "
        "each; another seed of training moves the figures as well"
    )
    if STABILITY not in reports:
        return f"{text}."
    trained = reports.table(STABILITY).query("model == 'diffusion' and factor == 1")["fid"]
    return f"{text} (the FIDs of {whole(len(trained))} seeds have a standard deviation of {number(trained.std(), 2)})."


def main_measure(runs: pd.DataFrame) -> str:
    """FID, or KID where there are too few samples for one."""
    return "fid" if runs["fid"].notna().all() else "kid"


def samples_picture(reports: Reports, runs: pd.DataFrame) -> Picture:
    """A row per run."""
    labelled_sheet(reports.figure("exercises.png"), reports.folder / "exercises/samples.png", runs["label"])
    caption = (
        f"The first {SHEET_COLUMNS} samples of every run by DDIM with {whole(runs['shown_calls'].iloc[0])} calls, not "
        "picked; all in a column are of the same class and start from the same noise."
    )
    return reports.drawn("exercises.png", caption, "Samples of every run, a row each, from the same noise")


def changes_table(runs: pd.DataFrame, changed: dict[str, dict[str, Any]]) -> Table:
    """The params that differ, and what follows from them at the end of the chain."""
    keys = next(iter(changed.values()))
    rows = [
        *([key, *(str(one[key]) for one in changed.values())] for key in keys),
        ["ᾱ at T", *map(number, runs["alpha_bar_T"])],
        ["amplitude of the image in x at T, %", *(number(100 * root, 2) for root in np.sqrt(runs["alpha_bar_T"]))],
    ]
    caption = "What is not the same in params.yaml, and what is left of the image at the end of the chain."
    return _table(caption, ("Param", *runs["label"]), rows)


def quality_table(runs: pd.DataFrame, verdict: dict[str, Any]) -> Table:
    """Every measure of every run with its difference from the first, whose verdict it is; real images last."""
    floor = {name: (value, None) for name, value in verdict["floor"].items()}
    floor |= {name: (verdict[f"{name}_floor"]["mean"], verdict[f"{name}_floor"]["std"]) for name in ("fid", "kid")}
    first, *others = (run for _, run in runs.iterrows())
    rows = []
    for name, (heading, unit, _) in MEASURES.items():
        if runs[name].notna().all():
            cells = [f"{number(run[name] / unit)} ({difference(first, run, name)})" for run in others]
            own = spread(first[name] / unit, first[f"{name}_error"] / unit)
            rows.append([heading, own, *cells, spread(*floor.get(name, (None, None)))])
    rows.append(["Training loss at the end", *map(number, runs["loss"]), MISSING])
    rows.append(["Images differ by", *map(number, runs["difference"]), MISSING])
    caption = (
        f"The verdict on n = {whole(runs['n'].iloc[0])} samples of every run by DDIM with "
        f"{whole(runs['calls'].iloc[0])} calls; in brackets the difference from {runs['label'].iloc[0]}. The error of "
        "an FID is the spread of real images' own, that of class accuracy and precision follows from n, and that of a "
        "KID from subsets; that of a difference is of both runs. Images differ: from those of the first run "
        "above, root mean square over their pixels (−1 to 1)."
    )
    return _table(caption, ("Measure", *runs["label"], "Real images"), rows)


def curves(reports: Reports, runs: pd.DataFrame, train: dict[str, Any]) -> Picture:
    """The losses of all runs on the same axes."""
    histories = reports.table("exercises/history.csv").groupby("run")
    lines = {run.label: thinned(histories.get_group(run.Index), CURVE_POINTS) for run in runs.itertuples()}
    training_losses(
        reports.figure("exercises_loss.png"), lines, f"loss (mean squared error of {LOSSES[train['target']]})"
    )
    caption = "Training loss of every run, means over stretches of steps; logarithmic."
    return reports.drawn("exercises_loss.png", caption, "Training loss of every run against the step")


def losses_compare(runs: pd.DataFrame, times: str) -> str:
    """Whether one may read one loss against another."""
    if times == "uniform":
        return (
            "Losses of different rows do not compare: with `train.times=uniform` every schedule draws noise levels of "
            "its own, and how large the loss is depends on them."
        )
    short = runs[np.sqrt(runs["alpha_bar_T"]) > PURE_NOISE_AMPLITUDE]["label"]
    but = f", but for {listing(list(short))}, where the noisiest of them do not exist" if len(short) else ""
    return f"`train.times={times}` draws the same noise levels under every schedule, so losses compare{but}."


def _run(runs: pd.DataFrame, schedule: str, timesteps: int) -> pd.Series:
    return runs[(runs["schedule"] == schedule) & (runs["timesteps"] == timesteps)].iloc[0]


def _with_errors(figures: dict[str, Any]) -> dict[str, float]:
    """The measures of a verdict, and their standard errors where these are known."""
    values = {name: figures[name] for name in MEASURES} | {"kid": figures["kid"]["mean"]}
    errors: dict[str, float | None] = dict.fromkeys(MEASURES)
    errors |= {"fid": figures["fid_floor"]["std"], "kid": figures["kid"]["std"]}
    errors |= {
        name: share_error(values[name], figures["n"]) for name in ("accuracy", "precision") if values[name] is not None
    }
    row = values | {f"{name}_error": error for name, error in errors.items()}
    return {name: math.nan if value is None else value for name, value in row.items()}


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    numeric = (False, *(True for _ in headings[1:]))
    return Table(caption, tuple(headings), numeric, tuple(tuple(map(Cell, row)) for row in rows))
