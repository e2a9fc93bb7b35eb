"""Exercise 3: the training run, its loss, its DDPM samples, and what a shorter chain would change."""

from typing import Any

import pandas as pd

from diffusion.choices import NETS
from report.content import Gallery, Section
from report.plots.training import training_loss
from report.reading import Reports
from report.spine import lesson
from report.spine.training_curves import loss_at_the_end, loss_label
from report.studies import EXERCISES, LESSON, in_place
from report.wording import duration, number, percent, whole

PURE_NOISE_AMPLITUDE = 0.05  # of the image's: less of it counts as pure noise


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The run of this pipeline, and the lesson's full run where the folder holds one."""
    history = reports.table("train/history.csv")
    training_loss(reports.figure("loss.png"), history, loss_label(params["train"]["target"]))
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
    chain = reports.record("schedules/metrics.json")["short_chain"]
    answer = (
        training_answer(reports, params),
        *short_chain_answer(chain, params["timesteps"], is_trained=EXERCISES.speaks(reports)),
    )
    of_lesson = in_place(LESSON, lesson.findings, reports, params)
    return Section("training", "Training", answer, (Gallery((grid, loss)), *of_lesson), "Exercise 3")


def training_answer(reports: Reports, params: dict[str, Any]) -> str:
    """The network, steps, epochs, seconds, how far the loss fell, and how many DDPM samples are recognised."""
    timing, n = reports.record("train/timing.json"), reports.record("data/card.json")["splits"]["train"]["n"]
    steps, batch = params["train"]["steps"], params["train"]["batch_size"]
    net = f"{NETS[params['model']['kind']]} with {whole(timing['parameters'])} parameters"
    samplers = reports.table("evaluate/samplers.csv")
    ddpm = samplers[(samplers["sampler"] == "ddpm") & (samplers["subset"] == "first")].iloc[0]
    return (
        f"Training a {net} for {whole(steps)} steps of {whole(batch)} images "
        f"({number(steps * batch / n, 2)} epochs of {whole(n)}) took "
        f"{duration(timing['seconds'])}, and {loss_trend(reports.table('train/history.csv'))}. Of {whole(ddpm['n'])} "
        f"samples by DDPM with {whole(ddpm['steps'])} steps the judge recognises {percent(ddpm['accuracy'])} as the "
        "class asked for."
    )


def loss_trend(history: pd.DataFrame) -> str:
    """Whether the loss fell, and from where to where."""
    first, last = history["loss"].iloc[0], loss_at_the_end(history)
    if last < first:
        return f"the loss fell from {number(first)} to {number(last)}"
    return f"the loss did not fall ({number(first)} at the start, {number(last)} at the end)"


def short_chain_answer(chain: dict[str, Any], timesteps: int, is_trained: bool) -> list[str]:
    """What T = 200 leaves of the image at the end of the chain, by the lesson's betas and by scaled ones.

    `timesteps` are those of this run; `is_trained` says whether another section shows what training makes of both.
    """
    left = {name: chain["alpha_bar_T"].get(name) for name in ("linear_unscaled", "linear")}
    if None in left.values():
        return []
    amplitude = {name: value**0.5 for name, value in left.items()}
    end = (
        "so sampling would start from the wrong distribution"
        if amplitude["linear_unscaled"] > PURE_NOISE_AMPLITUDE
        else "which is practically none"
    )
    trained = f"`dvc exp run -S timesteps={chain['timesteps']}` trains it."
    if is_trained:
        trained = "“Exercises side by side” shows what training makes of both."
    if timesteps == chain["timesteps"]:
        trained = "This run is that one."
    return [
        f"With T = {chain['timesteps']} the lesson's betas, unscaled, end at ᾱ = {number(left['linear_unscaled'])}: x "
        f"at T still holds {percent(amplitude['linear_unscaled'])} of the image's amplitude, {end}. Scaled by 1,000 / "
        f"T, as `linear` does here, they leave {percent(amplitude['linear'])}. {trained}"
    ]
