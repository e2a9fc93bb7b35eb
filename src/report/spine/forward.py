"""Exercise 1, the forward process: until when can one see what an image shows?"""

from typing import Any

import numpy as np
import pandas as pd

from report.content import Column, Picture, Section, Table, Text, table
from report.plots.grid import picture_grid
from report.plots.schedules import recognisability_curves
from report.reading import Reports
from report.wording import fixed, listing, number, percent, whole, with_article

RECOGNISED = 0.5


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """One image under growing noise, and the accuracy of the judge of noised images."""
    metrics, noun = reports.record("schedules/metrics.json"), reports.noun()
    note = Text(
        "SNR(t) = ᾱ / (1 − ᾱ) is the ratio of the image's variance to the noise's. It falls over many powers of ten, "
        "while what one can see changes within a narrow band of it."
    )
    answer = tuple(filter(None, (lost_answer(metrics, noun), same_snr(metrics))))
    blocks = (forward_picture(reports, metrics), note, forward_table(metrics), accuracy_picture(reports, metrics))
    return Section("forward", f"Forward process: until when can one see the {noun}?", answer, blocks, "Exercise 1")


def lost_answer(metrics: dict[str, Any], noun: str) -> str:
    """From which t on the image is no longer recognised."""
    name, n = metrics["schedule"], whole(metrics["n"])
    crossing = metrics["unrecognisable"][name]
    if metrics["accuracy_least_noise"] < RECOGNISED:
        return (
            f"The classifier of noised images classifies only {percent(metrics['accuracy_least_noise'])} of n = {n} "
            f"test images correctly where there is hardly any noise, so it cannot say when {with_article(noun)} is "
            "lost: raise `judge.steps`."
        )
    if crossing is None:
        return (
            f"Under `{name}` the {noun} never becomes unrecognisable: up to t = T = {whole(metrics['timesteps'])} the "
            f"judge classifies more than half of n = {n} test images correctly."
        )
    return (
        f"Under `{name}` {with_article(noun)} is no longer recognisable from t = {whole(crossing['t'])} of "
        f"{whole(metrics['timesteps'])} on (the lesson's t = {whole(crossing['t'] - 1)}), where the SNR is "
        f"{number(crossing['snr'], 2)}: from there on, the classifier of noised images is right on less than half of "
        f"n = {n} test images."
    )


def same_snr(metrics: dict[str, Any]) -> str:
    """When the other schedules reach that SNR; empty where none does."""
    others = {
        name: at for name, at in metrics["unrecognisable"].items() if at is not None and name != metrics["schedule"]
    }
    if not others or metrics["unrecognisable"][metrics["schedule"]] is None:
        return ""
    times = listing([f"t = {whole(at['t'])} under `{name}`" for name, at in others.items()])
    return f"What one can see depends on the SNR alone; the others reach the same SNR at {times}."


def forward_table(metrics: dict[str, Any]) -> Table:
    """The lesson's times, with what is left of the image."""
    columns: list[Column] = [
        ("t", "t", whole),
        ("lesson_t", "t in the lesson", whole),
        ("alpha_bar", "ᾱ", number),
        ("snr", "SNR", number),
        ("log_snr", "log-SNR", fixed),
        ("judge_probability", "probability of the right class", percent),
    ]
    caption = "The probability that the classifier of noised images gives to the right class of this one image."
    return table(pd.DataFrame(metrics["forward"]), columns, caption)


def forward_picture(reports: Reports, metrics: dict[str, Any]) -> Picture:
    """One image at the lesson's times, with the SNR under each."""
    rows = metrics["forward"]
    noised_images(reports, "forward.png", [row["t"] for row in rows], [[number(row["snr"], 2) for row in rows]])
    caption = (
        f"One test image and one draw of noise under the `{metrics['schedule']}` schedule; t counts from 1 (the "
        "lesson's from 0), with the SNR under each picture."
    )
    return reports.drawn("forward.png", caption, "One image growing noisier from left to right")


def noised_images(
    reports: Reports, name: str, times: list[int], snrs: list[list[str]], schedules: tuple[str, ...] = ()
) -> None:
    """Draw stage `schedules`' bare sheet `name` with its times above, SNRs below, and the schedules at the side."""
    headings = [f"t = {t:,}\nlesson: {t - 1:,}" if t else "clean" for t in times]
    notes = [[f"SNR {snr}" if snr else "" for snr in row] for row in snrs]
    images: np.ndarray = reports.tiles(f"schedules/{name}", len(snrs), len(times))
    picture_grid(reports.figure(name), images, headings, schedules, notes)


def accuracy_picture(reports: Reports, metrics: dict[str, Any]) -> Picture:
    """The judge of noised images against t and against log-SNR."""
    chance = 1 / len(reports.class_names())
    recognisability_curves(
        reports.figure("recognisability.png"), reports.table("schedules/recognisability.csv"), chance
    )
    caption = (
        f"Accuracy of the classifier of noised images on n = {whole(metrics['n'])} test images. Against t (left) the "
        "schedules differ; against log-SNR (right) they can be compared by what is left of the signal."
    )
    return reports.drawn("recognisability.png", caption, "Accuracy on noised images against t and against log-SNR")
