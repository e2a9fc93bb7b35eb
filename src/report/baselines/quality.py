"""The quality of the three models' samples, also against the time that these take."""

from typing import Any

import pandas as pd

from report.baselines.models import LOOKS, NAMES, fastest, first_rows, labels, named, row_of
from report.content import Column, Picture, Section, Table, table
from report.plots.samplers import Panel, speed_quality
from report.reading import Reports
from report.wording import fixed, listing, number, percent, spread, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Every measure of every model beside its floor, and quality against time."""
    quality, floor = reports.table("compare/quality.csv"), reports.record("compare/metrics.json")["floor"]
    blocks = (quality_table(quality, floor), tradeoff(reports, quality, floor))
    return Section("quality", "Quality", (quality_answer(first_rows(quality), floor),), blocks)


def quality_answer(best: pd.DataFrame, floor: dict[str, Any]) -> str:
    """FID and class accuracy of the three, beside their floor."""
    n, rows = whole(best["n"].iloc[0]), [row_of(best, model) for model in NAMES]
    if best["fid"].isna().any():
        parts = [f"{NAMES[row['model']]} {spread(row['kid'], row['kid_std'])}" for row in rows]
        return f"KID (n = {n}, lower is better): {listing(parts)}."
    parts = [f"{named(row['model'], row['calls'])}: {number(row['fid'])} ({percent(row['accuracy'])})" for row in rows]
    real = spread(floor["mean"]["fid"], floor["std"]["fid"])
    return (
        f"FID, and in brackets the share of samples recognised as the class asked for, n = {n}: {'; '.join(parts)}. "
        f"Real images score {real}."
    )


def quality_table(quality: pd.DataFrame, floor: dict[str, Any]) -> Table:
    """Every measure of every model, real images last."""
    real = pd.DataFrame([floor["mean"] | {"model": "real images", "sharpness": 1.0, "kid_std": floor["std"]["kid"]}])
    shown = pd.concat([quality.assign(model=labels(quality)), real])
    columns: list[Column] = [
        ("model", "Model", str),
        ("fid", "FID", number),
        ("kid", "KID", number),
        ("kid_std", "± error", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", percent),
        ("precision", "Precision", fixed),
        ("recall", "Recall", fixed),
        ("density", "Density", fixed),
        ("coverage", "Coverage", fixed),
        ("coverage_within", "Within classes", fixed),
        ("classes", "Classes", whole),
        ("effective_classes", "Effective classes", fixed),
        ("sharpness", "Sharpness", fixed),
    ]
    caption = (
        f"n = {whole(quality['n'].iloc[0])} samples of every model, the same classes; real images: as many of the "
        "training split, mean of five draws. Classes: how many the judge recognises among samples whose class is drawn "
        "at random (diffusion: whose class the model chooses, w = 0); effective: the exponential of their entropy. "
        "Sharpness: gradient energy over that of real images."
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
