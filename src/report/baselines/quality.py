"""The quality of the three models' samples, also against the time that these take."""

from functools import partial
from typing import Any

import pandas as pd

from report.baselines.models import LOOKS, NAMES, fastest, first_rows, labels, named, row_of
from report.content import Column, Folded, Picture, Section, Table, Text, table
from report.plots.samplers import Panel, speed_quality
from report.reading import Reports
from report.second import second_answer, second_table
from report.wording import fixed, listing, number, percent, ratio, share_of, spread, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Every measure of every model beside its floor, and quality against time."""
    quality = reports.table("compare/quality.csv")
    metrics = reports.record("compare/metrics.json")
    floor, score = metrics["floor"], metrics["classifier_score"]
    rows = both_judges(reports, quality)
    shown = Folded("The same samples by both judges", (second_table(rows, metrics["second_floor"], "Model"),))
    blocks = (
        quality_table(quality, floor, score),
        tradeoff(reports, quality, floor),
        Text(second_answer(reports, rows, "models")),
        shown,
    )
    best = first_rows(quality)
    tested = reports.record("judge/metrics.json")["n_test"]
    return Section("quality", "Quality", (quality_answer(best, floor), score_answer(best, score, tested)), blocks)


def both_judges(reports: Reports, quality: pd.DataFrame) -> pd.DataFrame:
    """The rows of quality with a `label`, and what the second judge says of the same samples."""
    second = reports.table("compare/second.csv")
    rows = quality.merge(second, on=["model", "calls"], suffixes=("", "_second"))
    return rows.assign(label=labels(rows))


def score_answer(best: pd.DataFrame, score: dict[str, Any], tested: int) -> str:
    """How much of real images a classifier recognises that was trained on the samples of one model alone."""
    scores = {model: row_of(best, model)["classifier_score"] for model in NAMES}
    parts = [f"{NAMES[model]} {share_of(share, tested)}" for model, share in scores.items()]
    spread_in_points = number(ratio(score["std"], 0.01), 2)
    return (
        f"A classifier trained on {whole(best['n'].iloc[0])} samples alone recognises of {whole(tested)} real test "
        f"images (its classifier accuracy score): {'; '.join(parts)}. One trained on {whole(score['n'])} real images "
        f"recognises {percent(score['mean'])} (± {spread_in_points} points between {whole(score['draws'])} trainings)."
    )


def quality_answer(best: pd.DataFrame, floor: dict[str, Any]) -> str:
    """FID, class accuracy and recall of the three, beside the floor."""
    n, rows = whole(best["n"].iloc[0]), [row_of(best, model) for model in NAMES]
    if best["fid"].isna().any():
        parts = [f"{NAMES[row['model']]} {spread(row['kid'], row['kid_std'])}" for row in rows]
        return f"KID (n = {n}, lower is better): {listing(parts)}."
    parts = [f"{named(row['model'], row['calls'])}: {number(row['fid'])} ({_recognised(row)})" for row in rows]
    real = spread(floor["mean"]["fid"], floor["std"]["fid"])
    return (
        "FID, and in brackets the share of samples recognised as the class asked for and the recall, "
        f"n = {n}: {'; '.join(parts)}. Real images score {real}."
    )


def _recognised(row: pd.Series) -> str:
    recall = "" if pd.isna(row["recall"]) else f", recall {fixed(row['recall'])}"
    return f"{share_of(row['accuracy'], row['n'])}{recall}"


def quality_table(quality: pd.DataFrame, floor: dict[str, Any], score: dict[str, Any]) -> Table:
    """Every measure of every model, real images last."""
    real = pd.DataFrame([floor["mean"] | {"model": "real images", "sharpness": 1.0, "kid_std": floor["std"]["kid"]}])
    real["classifier_score"] = score["mean"]
    shown = pd.concat([quality.assign(model=labels(quality)), real])
    columns: list[Column] = [
        ("model", "Model", str),
        ("fid", "FID", number),
        ("kid", "KID", number),
        ("kid_std", "± error", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", partial(share_of, n=quality["n"].iloc[0])),
        ("recall", "Recall", fixed),
        ("precision", "Precision", fixed),
        ("clipped_density", "Clipped density", fixed),
        ("coverage", "Coverage", fixed),
        ("clipped_coverage", "Clipped coverage", fixed),
        ("coverage_within", "Within classes", fixed),
        ("classes", "Classes", whole),
        ("effective_classes", "Effective classes", fixed),
        ("sharpness", "Sharpness", fixed),
        ("classifier_score", "Classifier score", percent),
    ]
    caption = (
        f"n = {whole(quality['n'].iloc[0])} samples of every model, the same classes; real images: as many of the "
        "training split, mean of five draws. Classes: how many the judge recognises among samples whose class is drawn "
        "at random (diffusion: whose class the model chooses, w = 0); effective: the exponential of their entropy. "
        "Sharpness: gradient energy over that of real images. Class accuracy: in brackets the Wilson interval of 95 %. "
        "Classifier score: accuracy on real test images of a classifier trained on the samples, or on as many real "
        "ones."
    )
    return table(shown, columns, caption)


def tradeoff(reports: Reports, quality: pd.DataFrame, floor: dict[str, Any]) -> Picture:
    """Seconds for n images against FID, or KID where there is none."""
    measure = "kid" if quality["fid"].isna().any() else "fid"
    rows = quality.merge(fastest(reports.table("compare/timing.csv")), on=["model", "calls"])
    images = int(rows["n"].iloc[0])
    drawn = rows.assign(
        label=rows["model"].map(NAMES),
        seconds=images / rows["images_per_second"],
        value=rows[measure],
        error=rows["kid_std"] if measure == "kid" else 0.0,
    )
    panel = Panel(f"{measure.upper()} (lower is better)", drawn, floor["mean"][measure], floor["std"][measure])
    speed_quality(reports.figure("speed.png"), panel, LOOKS, f"seconds for {whole(images)} images")
    caption = (
        f"Seconds for {whole(images)} images at the best batch size (logarithmic) against quality; labels are network "
        "evaluations per image. Left and low is good."
    )
    return reports.drawn("speed.png", caption, "Quality of diffusion, GAN and VAE against their time")
