"""What the lesson's exercises ask for beyond one run: the results of `make sweep SWEEP=studies/exercises.yaml`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from report.content import Block, Cell, Picture, Section, Table, Text
from report.looks import schedule_look
from report.plots.sheet import labelled_sheet
from report.plots.training import training_losses
from report.reading import Reports
from report.spine.runs import MEASURES, SHEET_COLUMNS, against_first, difference, is_better, run_of, runs_table
from report.spine.training import PURE_NOISE_AMPLITUDE
from report.spine.training_curves import loss_label, thinned
from report.studies import EXERCISES, SEEDS, Findings, other_params, section_of
from report.wording import MISSING, listing, number, percent, spread, whole

CURVE_POINTS = 70  # few enough to tell apart curves that lie close together


def section(reports: Reports, params: dict[str, Any]) -> Section | None:
    """The runs side by side; nothing where the study does not speak of the page's data."""
    return section_of(EXERCISES, findings, reports, params, "Exercises 2 and 3")


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """Answers, samples, what differs, quality and losses."""
    runs, about = runs_table(reports), EXERCISES.about(reports)
    answer = (chain_answer(runs), cosine_answer(runs), caution(runs, about["params"]["seed"], fids_over_seeds(reports)))
    blocks: tuple[Block, ...] = (
        samples_picture(reports, runs),
        changes_table(runs, about["changed"]),
        quality_table(runs, next(iter(reports.record("exercises/metrics.json").values()))),
        curves(reports, runs),
        Text(losses_compare(runs, about["params"]["train"]["times"])),
    )
    return Findings(answer, blocks)


def fids_over_seeds(reports: Reports) -> list[float] | None:
    """The FIDs of the study of training seeds, if it is of the same data and params as the exercises."""
    if not SEEDS.is_complete(reports) or SEEDS.data(reports) != EXERCISES.data(reports):
        return None
    if other_params(SEEDS.about(reports)["params"], EXERCISES.about(reports)["params"]):
        return None
    fids = [run["fid"] for run in reports.record("seeds/metrics.json").values()]
    return None if None in fids else fids


def chain_answer(runs: pd.DataFrame) -> str:
    """Exercise 3: what happens with T = 200 in training."""
    scaled, unscaled = run_of(runs, "linear", 200), run_of(runs, "linear_unscaled", 200)
    return (
        f"With T = 200 in place of {whole(runs.iloc[0]['timesteps'])} and betas rescaled to it, "
        f"{against_first(runs, scaled)}. With the lesson's betas unscaled, {against_first(runs, unscaled)}: x at T "
        f"still holds {percent(math.sqrt(unscaled['alpha_bar_T']))} of the image's amplitude there, while sampling "
        "starts from noise alone."
    )


def cosine_answer(runs: pd.DataFrame) -> str:
    """Exercise 2: whether cosine is the better schedule once both are trained."""
    cosine = run_of(runs, "cosine", 1000)
    shows = "an" if is_better(runs, cosine) else "no"
    return (
        f"With the cosine schedule in place of linear, {against_first(runs, cosine)}: this shows {shows} "
        "advantage for cosine."
    )


def cosine_is_better(reports: Reports) -> tuple[str, bool]:
    """The measurement behind the claim, in words, and whether the two agree."""
    runs = runs_table(reports)
    cosine = run_of(runs, "cosine", 1000)
    text = f"with cosine in place of linear, {against_first(runs, cosine)}; n = {whole(cosine['n'])} each"
    return text, is_better(runs, cosine)


def caution(runs: pd.DataFrame, seed: int, fids: Sequence[float] | None) -> str:
    """What the errors leave out, and how large that is where the FIDs of several training seeds are known."""
    text = (
        f"Each was trained once, with seed {seed}: the errors are those of sampling, n = {whole(runs['n'].iloc[0])} "
        "each; another seed of training changes the figures as well"
    )
    if fids is None:
        return f"{text}."
    deviation = number(pd.Series(fids).std(), 2)
    return f"{text} (the FIDs of {whole(len(fids))} seeds have a standard deviation of {deviation})."


def samples_picture(reports: Reports, runs: pd.DataFrame) -> Picture:
    """A row per run."""
    labelled_sheet(reports.figure("exercises.png"), reports.path("exercises/samples.png"), runs["label"].tolist())
    caption = (
        f"The first {SHEET_COLUMNS} samples of every run by DDIM with {whole(runs['shown_calls'].iloc[0])} network "
        "evaluations, not selected; all in a column are of the same class and start from the same noise."
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
    caption = "What differs in params.yaml, and what is left of the image at the end of the chain."
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
        f"{whole(runs['calls'].iloc[0])} network evaluations; in brackets the difference from "
        f"{runs['label'].iloc[0]}. The error of an FID is the spread of real images' own, that of class accuracy and "
        "precision follows from n, and that of a KID from subsets; that of a difference combines both runs. Images "
        "differ: from those of the first run above, root mean square over their pixels (−1 to 1)."
    )
    return _table(caption, ("Measure", *runs["label"], "Real images"), rows)


def curves(reports: Reports, runs: pd.DataFrame) -> Picture:
    """The losses of all runs on the same axes."""
    histories = reports.table("exercises/history.csv").groupby("run")
    lines = {run["label"]: thinned(histories.get_group(name), CURVE_POINTS) for name, run in runs.iterrows()}
    looks = {run["label"]: schedule_look(run["schedule"], row) for row, (_, run) in enumerate(runs.iterrows())}
    training_losses(reports.figure("exercises_loss.png"), lines, looks, loss_label(*runs["train.target"].unique()))
    caption = "Training loss of every run, means over many steps each; logarithmic."
    return reports.drawn("exercises_loss.png", caption, "Training loss of every run against the step")


def losses_compare(runs: pd.DataFrame, times: str) -> str:
    """Whether the losses of two runs can be compared."""
    if times == "uniform":
        return (
            "Losses of different schedules do not compare: with `train.times=uniform` every schedule draws noise "
            "levels of its own, and how large the loss is depends on them."
        )
    short = runs[np.sqrt(runs["alpha_bar_T"]) > PURE_NOISE_AMPLITUDE]["label"]
    but = f", except for {listing(list(short))}, where the noisiest of them do not exist" if len(short) else ""
    others = list(runs[runs["train.target"] != runs["train.target"].iloc[0]]["label"])
    but += f"; that of {listing(others)} is of another target" if others else ""
    return f"`train.times={times}` draws the same noise levels under every schedule, so losses compare{but}."


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    numeric = (False, *(True for _ in headings[1:]))
    return Table(caption, tuple(headings), numeric, tuple(tuple(map(Cell, row)) for row in rows))
