"""Exercise 2: where each schedule spends its noise, linear against cosine above all."""

from typing import Any

import pandas as pd

from diffusion.choices import SCHEDULES
from report.content import Block, Column, Folded, Picture, Section, Table, Text, table
from report.plots.schedules import schedule_curves
from report.reading import Reports
from report.spine.forward import noised_images
from report.spine.runs import against_first, run_of, runs_table
from report.studies import EXERCISES
from report.wording import listing, number, percent, whole

SAME_SHARE = 0.02
COMPARED = ("linear", "cosine")
CURVES = {  # column: label of the axis, whether it is logarithmic, caption, description
    "beta": ("β", True, "β, the share of variance replaced by noise in each step.", "Beta against t for all schedules"),
    "alpha_bar": (
        "ᾱ",
        False,
        "ᾱ, the share of the image's variance that is left.",
        "Alpha bar against t for all schedules",
    ),
    "snr": (
        "SNR = ᾱ / (1 − ᾱ)",
        True,
        "SNR = ᾱ / (1 − ᾱ), logarithmic.",
        "Signal-to-noise ratio against t for all schedules",
    ),
}


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The curves of all schedules, and one image under two of them."""
    metrics = reports.record("schedules/metrics.json")
    beta, alpha_bar, snr = curves(reports, metrics)
    left_out = [Text(f"`{name}` is left out: {reason}.") for name, reason in metrics["left_out"].items()]
    blocks: tuple[Block, ...] = (
        *compared_picture(reports, metrics),
        beta,
        alpha_bar,
        schedule_table(metrics),
        Folded("SNR against t", (snr,)),
        Text(one_family(runs_table(reports) if EXERCISES.speaks(reports) else None)),
        *left_out,
    )
    answer = (*schedules_answer(metrics), samples_answer(reports))
    return Section("schedules", "Linear against cosine", answer, blocks, "Exercise 2")


def early_noise(metrics: dict[str, Any]) -> str:
    """`agrees`, `disagrees` or `unknown`: does linear spend more of its steps past recognition than cosine does?"""
    linear, cosine = (metrics["share_unrecognisable"].get(name) for name in COMPARED)
    if linear is None or cosine is None:
        return "unknown"
    return "agrees" if linear > cosine + SAME_SHARE else "disagrees"


def schedules_answer(metrics: dict[str, Any]) -> list[str]:
    """Sentences that say whether linear spends its noise earlier than cosine, and by how much."""
    verdict = early_noise(metrics)
    if verdict == "unknown":
        return [f"The two cannot be compared at T = {whole(metrics['timesteps'])}: {_why_unknown(metrics)}."]
    linear, cosine = (metrics["share_unrecognisable"][name] for name in COMPARED)
    shares = (
        f"{percent(linear)} of linear's {whole(metrics['timesteps'])} steps lie past the point where the judge "
        f"recognises half of the images, and {percent(cosine)} of cosine's"
    )
    first = (
        f"Linear spends its noise too early: {shares}. Those steps only change noise in which nothing is recognisable."
        if verdict == "agrees"
        else f"That linear spends its noise too early is not confirmed here: {shares}."
    )
    half, gone = metrics["half_information"], metrics["nearly_gone"]
    return [
        first,
        f"Half of the image's variance is gone at t = {whole(half['linear'])} under linear and at t = "
        f"{whole(half['cosine'])} under cosine; 99 % of it at t = {whole(gone['linear'])} and t = "
        f"{whole(gone['cosine'])}.",
    ]


def samples_answer(reports: Reports) -> str:
    """Where to find out whether cosine also samples better."""
    where = (
        "“Exercises side by side” has both"
        if EXERCISES.speaks(reports)
        else "`dvc exp run -S schedule=cosine` trains it"
    )
    return f"One run cannot say whether cosine also samples better: {where}."


def one_family(runs: pd.DataFrame | None) -> str:
    """That flow matching is the same model in other words, and what came of it where the exercises' runs include it."""
    if runs is None or "flow" not in set(runs["schedule"]):
        outcome = "`dvc exp run -S schedule=flow -S train.target=flow` trains it."
    else:
        against_linear = against_first(runs, run_of(runs, "flow", 1000))
        outcome = f"Trained as flow matching, at the same noise levels, {against_linear}."
    return (
        "Flow matching is of the same family. Its straight path (1 − s) x₀ + s ε, with s = t / T, is x at t under the "
        "schedule `flow` but for a factor, and Euler's method on it is DDIM. The velocity ε − x₀, which its network "
        "predicts (target `flow`), is (√(1 − ᾱ) − √ᾱ) x + (√(1 − ᾱ) + √ᾱ) v, so its squared error is that of v times "
        "1 + 2√(ᾱ (1 − ᾱ)), a weight between 1 and 2. What is left to choose is what diffusion chooses as well: at "
        "which noise levels to train (`train.times`), how to weigh the errors there (`train.weighting`), and where the "
        f"sampler takes its steps (`schedule`). {outcome}"
    )


def compared_picture(reports: Reports, metrics: dict[str, Any]) -> list[Picture]:
    """The same image and noise under both schedules; nothing where T does not allow both."""
    if "schedules/linear_cosine.png" not in reports:
        return []
    times = metrics["compared_times"]
    tables = [reports.table(f"schedules/{name}.csv").set_index("t")["snr"] for name in COMPARED]
    snrs = [[number(snr[t], 2) if t else "" for t in times] for snr in tables]
    noised_images(reports, "linear_cosine.png", times, snrs, COMPARED)
    caption = "The same image and the same noise under both schedules, with the SNR under each picture."
    return [reports.drawn("linear_cosine.png", caption, "An image at three times under linear and cosine")]


def curves(reports: Reports, metrics: dict[str, Any]) -> list[Picture]:
    """A picture for each of CURVES."""
    tables = {name: reports.table(f"schedules/{name}.csv") for name in SCHEDULES if name in metrics["alpha_bar_T"]}
    pictures = []
    for column, (label, log_scale, caption, alt) in CURVES.items():
        schedule_curves(reports.figure(f"{column}.png"), tables, column, label, log_scale)
        pictures.append(reports.drawn(f"{column}.png", caption, alt))
    return pictures


def schedule_table(metrics: dict[str, Any]) -> Table:
    """The landmarks of every schedule."""
    rows = pd.DataFrame(
        {
            "schedule": SCHEDULES[name].label,
            "t_half": metrics["half_information"][name],
            "t_gone": metrics["nearly_gone"][name],
            "t_unseen": (metrics["unrecognisable"][name] or {}).get("t"),
            "share": metrics["share_unrecognisable"][name],
            "alpha_bar_T": metrics["alpha_bar_T"][name],
        }
        for name in metrics["alpha_bar_T"]
    ).astype({"t_half": float, "t_gone": float, "t_unseen": float, "share": float})
    columns: list[Column] = [
        ("schedule", "Schedule", str),
        ("t_half", "t with ᾱ = 0.5", whole),
        ("t_gone", "t with ᾱ = 0.01", whole),
        ("t_unseen", "unrecognisable from t", whole),
        ("share", "steps past it", percent),
        ("alpha_bar_T", "ᾱ at T", number),
    ]
    caption = (
        f"Landmarks of each schedule, T = {whole(metrics['timesteps'])}; recognisability from n = "
        f"{whole(metrics['n'])} test images."
    )
    return table(rows, columns, caption)


def _why_unknown(metrics: dict[str, Any]) -> str:
    missing = [name for name in COMPARED if name in metrics["left_out"]]
    return f"{listing(missing)} cannot be built" if missing else "one of them never falls under 50 % accuracy"
