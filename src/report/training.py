"""Exercise 3: the training run, its loss, its DDPM samples, and what a shorter chain would change."""

from typing import Any

import pandas as pd

from report.content import Block, Cell, Gallery, Section, Table, Text
from report.plots.training import training_loss
from report.reading import EXERCISES, Reports
from report.wording import duration, fixed, listing, number, percent, whole

LESSON = "lesson"
PURE_NOISE_AMPLITUDE = 0.05
LOSSES = {"eps": "ε", "x0": "x₀", "v": "v"}


def training_section(reports: Reports, params: dict[str, Any]) -> Section:
    """Exercise 3, from the default run, and from the lesson's full run where the folder holds one."""
    history = reports.table("train/history.csv")
    training_loss(
        reports.figure("loss.png"), history, f"loss (mean squared error of {LOSSES[params['train']['target']]})"
    )
    loss = reports.drawn(
        "loss.png",
        "Training loss, each point the mean since the one before; logarithmic.",
        "Training loss against the step",
    )
    grid = reports.picture(
        "evaluate/ddpm_grid.png",
        f"The first 16 samples by DDPM with all {whole(params['timesteps'])} steps.",
        "Grid of 4 by 4 DDPM samples",
    )
    answer = (training_answer(reports, params), *short_chain_answer(reports, params))
    return Section("training", "Training", answer, (Gallery((grid, loss)), *lesson_run(reports)), "Exercise 3")


def training_answer(reports: Reports, params: dict[str, Any]) -> str:
    """Steps, epochs, seconds, and how far the loss fell."""
    timing, history = reports.record("train/timing.json"), reports.table("train/history.csv")
    card, samplers = reports.record("data/card.json"), reports.table("evaluate/samplers.csv")
    steps, batch, n = params["train"]["steps"], params["train"]["batch_size"], card["splits"]["train"]["n"]
    first, last = history["loss"].iloc[0], loss_at_the_end(history)
    trend = (
        f"the loss fell from {number(first)} to {number(last)}"
        if last < first
        else f"the loss did not fall ({number(first)} at the start, {number(last)} at the end)"
    )
    ddpm = samplers[(samplers["sampler"] == "ddpm") & (samplers["subset"] == "first")].iloc[0]
    return (
        f"{whole(steps)} steps of {whole(batch)} images ({number(steps * batch / n, 2)} epochs of {whole(n)}) took "
        f"{duration(timing['seconds'])}, and {trend}. Of {whole(ddpm['n'])} samples by DDPM with "
        f"{whole(ddpm['steps'])} steps the judge reads {percent(ddpm['accuracy'])} as the class asked for."
    )


def short_chain_answer(reports: Reports, params: dict[str, Any]) -> list[str]:
    """What T = 200 leaves of the image at the end of the chain, by the lesson's betas and by scaled ones."""
    chain = reports.record("schedules/metrics.json")["short_chain"]
    left = {name: chain["alpha_bar_T"].get(name) for name in ("linear_unscaled", "linear")}
    if None in left.values():
        return []
    amplitude = {name: value**0.5 for name, value in left.items()}
    end = (
        "so sampling would start from the wrong distribution"
        if amplitude["linear_unscaled"] > PURE_NOISE_AMPLITUDE
        else "which is as good as none"
    )
    trained = f" `dvc exp run -S timesteps={chain['timesteps']}` trains it."
    if EXERCISES in reports:
        trained = " What training makes of both stands in “Exercises side by side”."
    if params["timesteps"] == chain["timesteps"]:
        trained = " This run is that one."
    return [
        f"With T = {chain['timesteps']} the lesson's betas, unscaled, end at ᾱ = {number(left['linear_unscaled'])}: x "
        f"at T still holds {percent(amplitude['linear_unscaled'])} of the image's amplitude, {end}. Scaled by 1,000 / "
        f"T, as `linear` does here, they leave {percent(amplitude['linear'])}.{trained}"
    ]


def lesson_run(reports: Reports) -> list[Block]:
    """The committed results of the lesson's own settings; nothing where there are none."""
    if LESSON not in reports:
        return []
    blocks: list[Block] = [Text(_lesson_text(reports))]
    pictures = []
    if f"{LESSON}/ddpm_grid.png" in reports:
        pictures.append(
            reports.picture(
                f"{LESSON}/ddpm_grid.png", "The lesson's run: 16 DDPM samples.", "DDPM samples of the lesson's run"
            )
        )
    if f"{LESSON}/history.csv" in reports:
        training_loss(reports.figure("lesson_loss.png"), thinned(reports.table(f"{LESSON}/history.csv")), "loss")
        pictures.append(
            reports.drawn(
                "lesson_loss.png", "The lesson's run: training loss, logarithmic.", "Loss of the lesson's run"
            )
        )
    blocks += [Gallery(tuple(pictures))] if pictures else []
    if f"{LESSON}/about.json" in reports:
        rows = tuple(
            (Cell(str(key)), Cell(_plain(value))) for key, value in reports.record(f"{LESSON}/about.json").items()
        )
        blocks.append(Table("About the lesson's run.", ("What", "Value"), (False, False), rows))
    return blocks


def loss_at_the_end(history: pd.DataFrame) -> float:
    """The mean of the last ten points, which are noisy."""
    return history["loss"].tail(10).mean()


def thinned(history: pd.DataFrame, points: int = 250) -> pd.DataFrame:
    """A long history as means over equal stretches of steps, so that a curve rather than a band is drawn."""
    size = max(1, len(history) // points)
    return history.groupby(history.index // size).agg({"step": "last", "loss": "mean"})


def _lesson_text(reports: Reports) -> str:
    parts = []
    if f"{LESSON}/timing.json" in reports:
        parts.append(f"took {duration(reports.record(f'{LESSON}/timing.json')['seconds'])}")
    if f"{LESSON}/metrics.json" in reports:
        verdict = reports.record(f"{LESSON}/metrics.json")
        shown = (
            ("fid", "an FID of", number),
            ("accuracy", "a class accuracy of", percent),
            ("coverage", "a coverage of", fixed),
        )
        floor = verdict.get("floor", {}) | {"fid": verdict.get("fid_floor", {}).get("mean")}
        figures = [
            f"{name} {show(verdict[key])}" + (f" (real images {show(floor[key])})" if floor.get(key) else "")
            for key, name, show in shown
            if isinstance(verdict.get(key), float)
        ]
        parts += [f"reached {listing(figures)} (n = {whole(verdict.get('n'))})"] if figures else []
    what = "The lesson's own settings (`presets/lesson.args`), run once to the end"
    return f"{what}, {listing(parts)}." if parts else f"{what}."


def _plain(value: object) -> str:
    return ", ".join(f"{key}: {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)
