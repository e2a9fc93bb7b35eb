"""Exercise 5: what the guidance scale does to fidelity, coverage, diversity, sharpness and saturation."""

from typing import Any

import pandas as pd

from report.content import Block, Column, Folded, Gallery, Picture, Section, Table, table, with_values
from report.plots.confusion import confusion_matrix, confusions
from report.plots.guidance import fidelity_coverage, measures_by_scale
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.spine.guidance_limits import limit_blocks
from report.spine.guidance_words import guidance_answer
from report.wording import fixed, listing, percent, whole

CURVES = {
    "accuracy": "class accuracy",
    "coverage": "coverage",
    "diversity": "diversity",
    "sharpness": "sharpness",
    "saturation": "saturation",
}


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Samples at every scale, their measures, and guidance that is limited."""
    rows, verdict = reports.table("guidance/metrics.csv"), reports.record("evaluate/metrics.json")
    blocks = (
        *sheets(reports, rows),
        guidance_table(rows, verdict),
        *curves(reports, rows, verdict),
        confusion(reports, rows),
        *limit_blocks(reports, rows, params["guidance"]),
    )
    return Section("guidance", "Classifier-free guidance", tuple(guidance_answer(rows)), blocks, "Exercise 5")


def guidance_table(rows: pd.DataFrame, verdict: dict[str, Any]) -> Table:
    """A row per scale."""
    columns: list[Column] = [
        ("scale", "w", lambda value: f"{value:g}"),
        ("n", "n", whole),
        ("accuracy", "Class accuracy", percent),
        ("fid", "FID", lambda value: fixed(value, 1)),
        *(
            (key, key.capitalize(), fixed)
            for key in ("precision", "recall", "density", "coverage", "diversity", "sharpness")
        ),
        ("saturation", "Saturation", percent),
        ("calls_per_image", "NFE", whole),
    ]
    floor = {key: value for key, value in verdict["floor"].items() if value is not None}
    real = (
        f"; real images at n = {whole(verdict['n'])}: "
        f"{listing([f'{key} {fixed(value)}' for key, value in floor.items()])}"
        if floor
        else ""
    )
    caption = (
        "Diversity: feature distance within a class; sharpness: gradient energy; both over those of real images. "
        "Saturation: share of pixels of the predicted x₀ beyond ±1 before clipping. NFE: network evaluations per "
        f"image. Same start noise at every w{real}."
    )
    return table(rows, with_values(rows, columns), caption)


def sheets(reports: Reports, rows: pd.DataFrame) -> list[Block]:
    """All scales side by side, and ten images a class at each."""
    scales = [f"w = {scale:g}" for scale in rows["scale"]]
    labelled_sheet(reports.figure("guidance.png"), reports.path("guidance/sheet.png"), reports.row_names(), scales)
    caption = "Each row is one class and one start noise, each column a guidance scale."
    sheet = reports.drawn("guidance.png", caption, "Classes against guidance scales")
    by_scale = [
        reports.picture(f"guidance/sheet_{scale:g}.png", f"w = {scale:g}", f"Samples of every class at w = {scale:g}")
        for scale in rows["scale"]
        if f"guidance/sheet_{scale:g}.png" in reports
    ]
    return [sheet, Folded("Ten images a class at every scale", (Gallery(tuple(by_scale)),))] if by_scale else [sheet]


def curves(reports: Reports, rows: pd.DataFrame, verdict: dict[str, Any]) -> list[Block]:
    """Measures against the scale, and fidelity against coverage where there are enough samples for one."""
    measures = {key: name for key, name in CURVES.items() if rows[key].notna().any()}
    measures_by_scale(reports.figure("guidance_measures.png"), rows, measures)
    by_scale = reports.drawn(
        "guidance_measures.png",
        "Each measure against the guidance scale; 1 is the value of real images for diversity and sharpness.",
        "Measures against guidance scale",
    )
    if not rows["coverage"].notna().any():
        return [by_scale]
    fidelity_coverage(reports.figure("guidance_tradeoff.png"), rows, verdict["floor"])
    trade = reports.drawn(
        "guidance_tradeoff.png",
        "Fidelity against coverage, w along the line. Up and right is good.",
        "Fidelity against coverage by guidance scale",
    )
    return [Gallery((trade, by_scale))]


def confusion(reports: Reports, rows: pd.DataFrame) -> Picture:
    """What the judge recognises at each scale."""
    counts, names = reports.table("guidance/confusion.csv"), reports.class_names()
    matrices = {f"w = {scale:g}": confusion_matrix(counts[counts["scale"] == scale], names) for scale in rows["scale"]}
    confusions(reports.figure("guidance_confusion.png"), matrices, names)
    return reports.drawn(
        "guidance_confusion.png",
        "What the judge recognises at each scale: row = class asked for, column = class recognised.",
        "Confusion matrices by guidance scale",
    )
