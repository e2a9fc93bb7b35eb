"""Exercises 1 and 2: the forward process, and linear against cosine."""

from typing import Any

import pandas as pd

from report.content import Block, Folded, Section, Text, table
from report.reading import EXERCISES, Reports
from report.wording import fixed, listing, number, percent, whole

SAME_SHARE = 0.02
RECOGNISED = 0.5


def forward_section(reports: Reports) -> Section:
    """Exercise 1: until when can one see the digit?"""
    metrics = reports.record("schedules/metrics.json")
    rows = pd.DataFrame(metrics["forward"])
    columns = [
        ("t", "t", whole),
        ("lesson_t", "t in the lesson", whole),
        ("alpha_bar", "ᾱ", number),
        ("snr", "SNR", number),
        ("log_snr", "log-SNR", fixed),
        ("judge_probability", "probability of the right class", percent),
    ]
    picture = reports.picture(
        "schedules/forward.png",
        "One test image and one noise under the `"
        + metrics["schedule"]
        + "` schedule; t counts from 1 (the lesson's from 0), with the SNR under each picture.",
        "One digit growing noisier from left to right",
    )
    accuracy = reports.picture(
        "schedules/recognisability.png",
        f"Accuracy of the classifier of noised images on n = {whole(metrics['n'])} test images. Against t (left) the "
        "schedules differ; against log-SNR (right) they can be compared by what is left of the signal.",
        "Accuracy on noised images against t and against log-SNR",
    )
    seen = "Probability that the classifier of noised images gives to the right class of this one image."
    note = Text(
        "SNR(t) = ᾱ / (1 − ᾱ) is the ratio of the image's variance to the noise's. It falls over many powers of ten, "
        "while what one can see changes within a narrow band of it."
    )
    answer = tuple(filter(None, (_forward_answer(metrics), _snr_answer(metrics))))
    return Section(
        "forward",
        "Forward process: how long can one see the digit?",
        answer,
        (picture, note, table(rows, columns, seen), accuracy),
        "Exercise 1",
    )


def schedules_section(reports: Reports) -> Section:
    """Exercise 2: where does each schedule spend its noise?"""
    metrics = reports.record("schedules/metrics.json")
    captions = {
        "beta": ("β, the share of variance replaced by noise in each step.", "Beta against t for all schedules"),
        "alpha_bar": ("ᾱ, the share of the image's variance that is left.", "Alpha bar against t for all schedules"),
        "snr": ("SNR = ᾱ / (1 − ᾱ), logarithmic.", "Signal-to-noise ratio against t for all schedules"),
    }
    curves = [reports.picture(f"schedules/{name}.png", *words) for name, words in captions.items()]
    compared: list[Block] = []
    if "schedules/linear_cosine.png" in reports:
        caption = "The same image and the same noise under both schedules, with the SNR under each picture."
        compared = [
            reports.picture("schedules/linear_cosine.png", caption, "A digit at three times under linear and cosine")
        ]
    left_out = [Text(f"`{name}` is left out: {reason}.") for name, reason in metrics["left_out"].items()]
    blocks = (*compared, *curves[:2], _schedule_table(metrics), Folded("SNR against t", (curves[2],)), *left_out)
    answer = (*schedules_answer(metrics), samples_answer(reports))
    return Section("schedules", "Linear against cosine", answer, blocks, "Exercise 2")


def early_noise(metrics: dict[str, Any]) -> str:
    """`agrees`, `disagrees` or `unknown`: does linear spend more of its steps past recognition than cosine does?"""
    shares = metrics["share_unrecognisable"]
    linear, cosine = shares.get("linear"), shares.get("cosine")
    if linear is None or cosine is None:
        return "unknown"
    return "agrees" if linear > cosine + SAME_SHARE else "disagrees"


def schedules_answer(metrics: dict[str, Any]) -> list[str]:
    """Sentences that say whether linear spends its noise earlier than cosine, and by how much."""
    verdict = early_noise(metrics)
    if verdict == "unknown":
        return [f"The two cannot be compared at T = {whole(metrics['timesteps'])}: {_why_unknown(metrics)}."]
    linear, cosine = (metrics["share_unrecognisable"][name] for name in ("linear", "cosine"))
    shares = (
        f"{percent(linear)} of linear's {whole(metrics['timesteps'])} steps lie past the point where the "
        f"judge reads half of the images, and {percent(cosine)} of cosine's"
    )
    half = metrics["half_information"]
    halves = (
        f"Half of the image's variance is gone at t = {whole(half['linear'])} under linear and at t = "
        f"{whole(half['cosine'])} under cosine"
    )
    if verdict == "agrees":
        first = (
            f"Linear spends its noise too early: {shares}. Those steps move noise about where nothing can be "
            f"recognised."
        )
    else:
        first = f"That linear spends its noise too early is not confirmed here: {shares}."
    gone = metrics["nearly_gone"]
    late = f"99 % of it at t = {whole(gone['linear'])} and t = {whole(gone['cosine'])}"
    return [
        first,
        f"{halves}; {late}.",
    ]


def samples_answer(reports: Reports) -> str:
    """Where to find out whether cosine also samples better."""
    where = "“Exercises side by side” has both" if EXERCISES in reports else "`dvc exp run -S schedule=cosine` tells"
    return f"Whether cosine also samples better, one run cannot say: {where}."


def _why_unknown(metrics: dict[str, Any]) -> str:
    missing = [name for name in ("linear", "cosine") if name in metrics["left_out"]]
    return f"{listing(missing)} cannot be built" if missing else "one of them never falls under 50 % accuracy"


def _forward_answer(metrics: dict[str, Any]) -> str:
    name, n = metrics["schedule"], whole(metrics["n"])
    crossing = metrics["unrecognisable"][name]
    if metrics["accuracy_least_noise"] < RECOGNISED:
        return (
            f"The classifier of noised images reads only {percent(metrics['accuracy_least_noise'])} of n = {n} test "
            "images right where there is hardly any noise, so it cannot say when a digit is lost: raise `judge.steps`."
        )
    if crossing is None:
        return (
            f"Under `{name}` the digit never becomes unrecognisable: up to t = T = {whole(metrics['timesteps'])} the "
            f"judge reads more than half of n = {n} test images right."
        )
    return (
        f"Under `{name}` a digit is no longer recognisable from t = {whole(crossing['t'])} of "
        f"{whole(metrics['timesteps'])} on (the lesson's t = {whole(crossing['t'] - 1)}), where the SNR is "
        f"{number(crossing['snr'], 2)}: from there the classifier of noised images reads less than half of n = {n} "
        "test images right."
    )


def _snr_answer(metrics: dict[str, Any]) -> str:
    others = {
        name: at for name, at in metrics["unrecognisable"].items() if at is not None and name != metrics["schedule"]
    }
    if not others or metrics["unrecognisable"][metrics["schedule"]] is None:
        return ""
    times = listing([f"t = {whole(at['t'])} under `{name}`" for name, at in others.items()])
    return f"What one can see depends on the SNR alone; the same SNR comes at {times}."


def _schedule_table(metrics: dict[str, Any]) -> Block:
    rows = pd.DataFrame(
        {
            "schedule": name,
            "t_half": metrics["half_information"][name],
            "t_gone": metrics["nearly_gone"][name],
            "t_unseen": (metrics["unrecognisable"][name] or {}).get("t"),
            "share": metrics["share_unrecognisable"][name],
            "alpha_bar_T": metrics["alpha_bar_T"][name],
        }
        for name in metrics["alpha_bar_T"]
    ).astype({"t_half": float, "t_gone": float, "t_unseen": float, "share": float})
    columns = [
        ("schedule", "Schedule", str),
        ("t_half", "t with ᾱ = 0.5", whole),
        ("t_gone", "t with ᾱ = 0.01", whole),
        ("t_unseen", "unrecognisable from t", whole),
        ("share", "steps past it", percent),
        ("alpha_bar_T", "ᾱ at T", number),
    ]
    return table(
        rows,
        columns,
        f"Where each schedule is, T = {whole(metrics['timesteps'])}; recognisability from n = {whole(metrics['n'])} "
        "test images.",
    )
