"""Scores that are known: learned fields, trajectories and samples of mixtures of Gaussians beside the truth."""

import pandas as pd

from report.content import Block, table
from report.plots.score import by_noise_level, score_fields, trajectories
from report.reading import Reports
from report.wording import fixed, number, percent, whole

SAMPLERS = {
    "heun": "Heun (ODE)",
    "euler_maruyama": "Euler–Maruyama (SDE)",
    "predictor_corrector": "predictor–corrector",
}


def field_answer(errors: pd.DataFrame) -> str:
    """How near a learned score is to a known one at the least and at the most noise, on the worst of the mixtures."""
    worst = errors.assign(share=errors["error"] / errors["score"]).groupby("log_snr")[["share", "far_error"]].max()
    noisy, clear = worst.iloc[0], worst.iloc[-1]
    return (
        "A network that predicts ε knows the score: score = −ε / √(1 − ᾱ). On mixtures of Gaussians in the plane, "
        "whose true score is known, the error of the learned one is "
        f"{percent(noisy['share'])} of the score's size where the points are at log-SNR {number(noisy.name, 2)}, and "
        f"{percent(clear['share'])} at log-SNR {number(clear.name, 2)} (root mean squares, the worse of "
        f"{whole(errors['mixture'].nunique())} mixtures, n = {whole(errors['n'].iloc[0])}); over the whole plane, also "
        f"where there are no points, {percent(noisy['far_error'])} and {percent(clear['far_error'])}."
    )


def mixture_blocks(reports: Reports) -> list[Block]:
    """Fields, trajectories, errors and samples where everything is known."""
    score_fields(reports.figure("score_field.png"), reports.table("score/mixture_field.csv"))
    paths, points = reports.table("score/mixture_paths.csv"), reports.table("score/mixture_points.csv")
    trajectories(reports.figure("score_paths.png"), paths, points, SAMPLERS)
    errors = reports.table("score/mixture_error.csv")
    near = errors.assign(value=errors["error"] / errors["score"], where=errors["mixture"] + ", where points are")
    far = errors.assign(value=errors["far_error"], where=errors["mixture"] + ", over the plane")
    drawn = pd.concat([near, far]).assign(error=0.0)
    by_noise_level(
        reports.figure("score_error.png"), drawn, "where", "error of the learned score, relative", log_scale=True
    )
    return [
        reports.drawn(
            "score_field.png",
            "The score of two mixtures at four noise levels: true in grey, learned in orange on top, to one scale in "
            "each panel. Where arrows part, little was learned.",
            "Arrows of true and learned scores",
        ),
        reports.drawn(
            "score_paths.png",
            "Paths from noise (dots) to samples (triangles) along the learned score, the fainter the more noise there "
            "is; grey: points of the mixture. The ODE's paths are smooth, the SDE's are not; each sampler has the same "
            "start noise.",
            "Trajectories of three samplers in the plane",
        ),
        reports.drawn(
            "score_error.png",
            "Error of the learned score over the size of the true one, both root mean squares, by noise level.",
            "Relative error of learned scores against log-SNR",
        ),
        samples_table(reports.table("score/mixture_samples.csv")),
    ]


def samples_table(rows: pd.DataFrame) -> Block:
    """Samples of the mixtures by the exact and by the learned score."""
    shown = rows.assign(name=rows["sampler"].map(SAMPLERS))
    columns = [
        ("mixture", "Mixture", str),
        ("name", "Sampler", str),
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
        "by how much the share of a component is off at most, both beside as many real points. Rows with the exact "
        "score show what the sampler alone gets wrong."
    )
    return table(shown, columns, caption)
