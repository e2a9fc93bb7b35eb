"""Exercise 5: what the guidance scale does to fidelity, coverage, diversity, sharpness and saturation."""

from functools import partial
from typing import Any

import pandas as pd

from report.classes import MANY, class_sheet, confusion_blocks
from report.content import Block, Column, Folded, Gallery, Section, Table, table, with_values
from report.paired import pairs
from report.plots.confusion import confusion_matrix
from report.plots.guidance import fidelity_coverage, measures_by_scale
from report.reading import Reports
from report.spine.autoguidance import auto_blocks
from report.spine.guidance_limits import limit_blocks
from report.spine.guidance_words import CONDITIONAL, guidance_answer
from report.wording import fixed, listing, number, percent, share_of, whole

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
        *confusion(reports, rows),
        *limit_blocks(reports, rows, params["guidance"]),
        *auto_blocks(reports, rows, params["train"]["early_share"]),
    )
    return Section(
        "guidance", "Classifier-free guidance and autoguidance", tuple(guidance_answer(rows)), blocks, "Exercise 5"
    )


def guidance_table(rows: pd.DataFrame, verdict: dict[str, Any]) -> Table:
    """A row per scale."""
    plain = rows.iloc[(rows["scale"] - CONDITIONAL).abs().argmin()]
    for name in ("recognised", "recognised_second"):
        rows = rows.assign(**{f"p_{name}": [pairs(plain[name], other).p for other in rows[name]]})
    columns: list[Column] = [
        ("scale", "w", lambda value: f"{value:g}"),
        ("n", "n", whole),
        ("fid", "FID", lambda value: fixed(value, 1)),
        ("accuracy", "Class accuracy", partial(share_of, n=rows["n"].iloc[0])),
        ("p_recognised", "p", lambda value: number(value, 2)),
        ("accuracy_second", "Class accuracy, second judge", percent),
        ("p_recognised_second", "p, second judge", lambda value: number(value, 2)),
        ("recall", "Recall", fixed),
        ("recall_second", "Recall, second judge", fixed),
        *(
            (key, key.capitalize().replace("_", " "), fixed)
            for key in (
                "precision",
                "clipped_density",
                "coverage",
                "clipped_coverage",
                "diversity",
                "sharpness",
            )
        ),
        ("saturation", "Saturation", percent),
        ("calls_per_image", "NFE", whole),
    ]
    floor = {key: value for key, value in verdict["floor"].items() if value is not None}
    real = (
        f"; real images at n = {whole(verdict['n'])}: "
        f"{listing([f'{key} {fixed(value)}'.replace('_', ' ') for key, value in floor.items()])}"
        if floor
        else ""
    )
    caption = (
        "Diversity: feature distance within a class; sharpness: gradient energy; both over those of real images. "
        "Saturation: share of pixels of the predicted x₀ beyond ±1 before clipping. NFE: network evaluations per "
        f"image. Same start noise at every w{real}. Class accuracy: in brackets the Wilson interval of 95 %; p: "
        f"McNemar's exact test of it against w = {plain['scale']:g}, pair by pair. Both judges see the same "
        "images."
    )
    return table(rows, with_values(rows, columns), caption)


def sheets(reports: Reports, rows: pd.DataFrame) -> list[Block]:
    """All scales side by side, and ten images a class at each."""
    scales = [f"w={scale:g}" for scale in rows["scale"]]
    caption = "Each row is one class and one start noise, each column a guidance scale."
    alt = "Classes against guidance scales"
    shown = class_sheet(reports, "guidance", "guidance/sheet.png", caption, alt, scales)
    by_scale = [block for scale in rows["scale"] for block in of_scale(reports, scale)]
    return [*shown, Folded("More images of every class, scale by scale", tuple(by_scale))] if by_scale else shown


def of_scale(reports: Reports, scale: float) -> list[Block]:
    """Several images of every class at one scale, in bare rows where a neighbour has their names."""
    name, alt = f"guidance/sheet_{scale:g}.png", f"Samples of every class at w = {scale:g}"
    if name not in reports:
        return []
    if len(reports.class_names()) <= MANY:
        return [Gallery((reports.picture(name, f"w = {scale:g}", alt),))]
    return class_sheet(reports, f"guidance_{scale:g}", name, f"w = {scale:g}.", alt)


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


def confusion(reports: Reports, rows: pd.DataFrame) -> list[Block]:
    """What the judge recognises at each scale."""
    counts, names = reports.table("guidance/confusion.csv"), reports.class_names()
    matrices = {f"w = {scale:g}": confusion_matrix(counts[counts["scale"] == scale], names) for scale in rows["scale"]}
    caption = "What the judge recognises at each scale: row = class asked for, column = class recognised."
    return confusion_blocks(reports, "guidance_confusion", matrices, caption, "Confusion matrices by guidance scale")
