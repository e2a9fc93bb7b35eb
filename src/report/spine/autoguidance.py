"""Exercise 5: guidance by a bad version of the model (autoguidance) beside classifier-free guidance."""

import pandas as pd

from diffusion.choices import GUIDANCE
from report.classes import class_sheet
from report.content import Block, Column, Text, table, with_values
from report.plots.guidance import fidelity_variety
from report.reading import Reports
from report.spine.guidance_words import CONDITIONAL, change
from report.wording import fixed, listing, percent, whole

ABOVE = {"none": "w =", "classifier_free": "CFG", "autoguidance": "AG"}  # a column of images, before its scale


def auto_blocks(reports: Reports, rows: pd.DataFrame, early_share: float) -> list[Block]:
    """Both kinds of guidance in words, curves, a table and a sheet; `rows` are those of classifier-free guidance."""
    auto = reports.table("guidance/auto.csv").assign(kind="autoguidance")
    free = rows.assign(kind=["none" if scale == CONDITIONAL else "classifier_free" for scale in rows["scale"]])
    both = pd.concat([free[free["scale"].isin([CONDITIONAL, *auto["scale"]])], auto])  # in the order of the sheet
    explained = (
        "Autoguidance (Karras et al. 2024) leads away from a bad version of the model under the same class, not from "
        f"the model without a class. The bad version here is the model's own average after {percent(early_share)} of "
        f"the training steps. {' '.join(sentences(both))}"
    )
    return [
        Text(explained.strip()),
        *curves(reports, free[free["scale"].between(CONDITIONAL, auto["scale"].max())], auto),
        kinds_table(both),
        *samples(reports, both),
    ]


def sentences(both: pd.DataFrame) -> list[str]:
    """What either kind changes from w = 1 to the largest scale that both have; none where these were not measured."""
    plain, matched = both[both["kind"] == "none"], both[both.duplicated("scale", keep=False)]
    if plain.empty or matched.empty:
        return []
    strongest = matched[matched["scale"] == matched["scale"].max()]
    return [_sentence(plain.iloc[0], row) for _, row in strongest.iterrows()]


def curves(reports: Reports, free: pd.DataFrame, auto: pd.DataFrame) -> list[Block]:
    """Accuracy and precision against recall and coverage; nothing where there are too few samples for these."""
    if not auto["coverage"].notna().any():
        return []
    lines = {
        GUIDANCE["classifier_free"]: free,
        GUIDANCE["autoguidance"]: pd.concat([free[free["kind"] == "none"], auto]),
    }
    fidelity_variety(reports.figure("guidance_auto.png"), lines)
    caption = (
        "Fidelity (upwards) against variety (to the right) under both kinds of guidance, w along each line from 1."
    )
    return [reports.drawn("guidance_auto.png", caption, "Accuracy and precision against recall and coverage")]


def kinds_table(both: pd.DataFrame) -> Block:
    """A row per scale and kind."""
    shown = both.sort_values("scale", kind="stable")
    columns: list[Column] = [
        ("scale", "w", lambda value: f"{value:g}"),
        ("kind", "Guidance", lambda kind: GUIDANCE.get(kind, "none")),
        ("calls_per_image", "NFE", whole),
        ("accuracy", "Class accuracy", percent),
        ("accuracy_second", "Class accuracy, second judge", percent),
        ("fid", "FID", lambda value: fixed(value, 1)),
        *((key, key.capitalize(), fixed) for key in ("precision", "recall")),
        ("recall_second", "Recall, second judge", fixed),
        *((key, key.capitalize(), fixed) for key in ("coverage", "diversity", "sharpness")),
    ]
    caption = (
        f"Both kinds of guidance, n = {whole(shown['n'].iloc[0])} each, same start noise. NFE counts evaluations of "
        "the bad version too."
    )
    return table(shown, with_values(shown, columns), caption)


def samples(reports: Reports, both: pd.DataFrame) -> list[Block]:
    """The same class and start noise in every row: w = 1, then either kind at its scales."""
    headings = [f"{ABOVE[kind]} {scale:g}" for kind, scale in both[["kind", "scale"]].itertuples(index=False)]
    caption = "Each row is one class and one start noise: w = 1, classifier-free guidance (CFG), autoguidance (AG)."
    alt = "Classes against both kinds of guidance"
    return class_sheet(reports, "guidance_auto_samples", "guidance/auto.png", caption, alt, headings)


def _sentence(plain: pd.Series, row: pd.Series) -> str:
    parts = [
        f"{'class accuracy' if name == 'accuracy' else name} {change(plain, row, name)} ({shown(plain[name])} to "
        f"{shown(row[name])})"
        for name, shown in (("accuracy", percent), ("recall", fixed), ("coverage", fixed))
        if pd.notna(plain[name]) and pd.notna(row[name])
    ]
    return f"With {GUIDANCE[row['kind']]} at w = {row['scale']:g}, {listing(parts)}."
