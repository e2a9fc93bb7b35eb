"""Known scores: learned fields, trajectories and samples of mixtures of Gaussians beside the truth."""

from typing import Any

import pandas as pd

from report.content import Block, Column, Section, Table, table
from report.plots.score import by_noise_level, score_fields, trajectories
from report.reading import Reports
from report.wording import fixed, number, percent, whole

SAMPLERS = {
    "heun": "Heun (ODE)",
    "euler_maruyama": "Euler–Maruyama (SDE)",
    "predictor_corrector": "predictor–corrector",
}


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Fields, trajectories, errors and samples where the truth is known."""
    errors = reports.table("score/mixture_error.csv")
    blocks = (*mixture_blocks(reports, errors), samples_table(reports.table("score/mixture_samples.csv")))
    return Section("known-scores", "Where the score is known", (field_answer(errors),), blocks)


def field_answer(errors: pd.DataFrame) -> str:
    """How near a learned score is to a known one at the least and at the most noise, on the worst of the mixtures."""
    relative = errors.assign(share=errors["error"] / errors["score"])
    worst = relative.groupby("log_snr", as_index=False)[["share", "far_error"]].max()
    noisy, clear = worst.iloc[0], worst.iloc[-1]
    return (
        "A network that predicts ε estimates the score: score = −ε / √(1 − ᾱ). On mixtures of Gaussians in the plane, "
        "whose true score is known, the error of the learned one is "
        f"{percent(noisy['share'])} of the score's size where the points are at log-SNR {number(noisy['log_snr'], 2)}, "
        f"and {percent(clear['share'])} at log-SNR {number(clear['log_snr'], 2)} (root mean squares, the worst of "
        f"{whole(errors['mixture'].nunique())} mixtures, n = {whole(errors['n'].iloc[0])}); over the whole plane, also "
        f"where there are no points, {percent(noisy['far_error'])} and {percent(clear['far_error'])}."
    )


def median_error(errors: pd.DataFrame) -> float:
    """The error of the learned score over the size of the true one, at the median of noise levels and mixtures."""
    return (errors["error"] / errors["score"]).median()


def mixture_blocks(reports: Reports, errors: pd.DataFrame) -> list[Block]:
    """The pictures."""
    score_fields(reports.figure("field.png"), reports.table("score/mixture_field.csv"))
    paths, points = reports.table("score/mixture_paths.csv"), reports.table("score/mixture_points.csv")
    trajectories(reports.figure("paths.png"), paths, points, SAMPLERS)
    near = errors.assign(value=errors["error"] / errors["score"], where=errors["mixture"] + ", where points are")
    far = errors.assign(value=errors["far_error"], where=errors["mixture"] + ", over the plane")
    drawn = pd.concat([near, far]).assign(error=0.0)
    by_noise_level(reports.figure("error.png"), drawn, "where", "relative error of the learned score", log_scale=True)
    return [
        reports.drawn(
            "field.png",
            "The score of two mixtures at four noise levels: true in grey, learned in orange on top, to one scale in "
            "each panel. Where arrows part, little was learned.",
            "Arrows of true and learned scores",
        ),
        reports.drawn(
            "paths.png",
            "Paths from noise (dots) to samples (triangles) along the learned score, fainter where there is more "
            "noise; grey: points of the mixture. The ODE's paths are smooth, the SDE's are not; all samplers have the "
            "same start noise.",
            "Trajectories of three samplers in the plane",
        ),
        reports.drawn(
            "error.png",
            "Error of the learned score over the size of the true one, both root mean squares, by noise level.",
            "Relative error of learned scores against log-SNR",
        ),
    ]


def samples_table(rows: pd.DataFrame) -> Table:
    """Samples of the mixtures by the exact and by the learned score."""
    columns: list[Column] = [
        ("mixture", "Mixture", str),
        ("sampler", "Sampler", SAMPLERS.__getitem__),
        ("steps", "Steps", whole),
        ("score", "Score", str),
        ("log_density", "Log-density", fixed),
        ("log_density_error", "± error", lambda value: number(value, 2)),
        ("real_log_density", "Of real points", fixed),
        ("share_error", "Error of shares", percent),
        ("real_share_error", "Of real points", percent),
    ]
    caption = (
        f"Samples of the mixtures, n = {whole(rows['n'].iloc[0])}: their mean log-density under the true mixture, and "
        "the largest error of a component's share, both beside as many real points. Rows with the exact score show "
        "what the sampler alone gets wrong."
    )
    return table(rows, columns, caption)
