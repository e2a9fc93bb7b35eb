"""Exercise 5: guidance in an interval of log-SNR alone, and rescaled, beside guidance everywhere."""

from functools import partial
from typing import Any

import pandas as pd

from report.classes import class_sheet
from report.content import Block, Column, Picture, Table, Text, table, with_values
from report.plots.guidance import fidelity_by_limit
from report.reading import Reports
from report.spine.guidance_words import CONDITIONAL, change
from report.wording import fixed, listing, number, percent, share_of, whole


def limit_blocks(reports: Reports, rows: pd.DataFrame, guidance: dict[str, Any]) -> list[Block]:
    """What limits change; nothing where no scale was limited. `guidance` is that section of params."""
    limited = reports.table("guidance/limited.csv")
    if limited.empty:
        return []
    names = limit_names(guidance)
    everywhere = rows[rows["scale"].isin(limited["scale"])].assign(limit="everywhere")
    shown = pd.concat([everywhere, limited]).sort_values("scale", kind="stable")
    return [
        Text(limits_answer(limited, everywhere, names)),
        *tradeoff(reports, rows, shown, names),
        limits_table(shown, names),
        *samples(reports, shown["scale"].max()),
    ]


def limit_names(guidance: dict[str, Any]) -> dict[str, str]:
    """The limits as in the tables, and in words."""
    first, last = (f"{log_snr:g}".replace("-", "−") for log_snr in guidance["interval"])
    return {
        "everywhere": "everywhere",
        "interval": f"only at log-SNR {first} to {last}",
        "rescale": f"everywhere, rescaled by {guidance['rescale']:g}",
    }


def limits_answer(limited: pd.DataFrame, everywhere: pd.DataFrame, names: dict[str, str]) -> str:
    """What each limit changes at the largest scale."""
    limits = list(names)[1:]
    return " ".join(_sentence(limited[limited["limit"] == limit], everywhere, names[limit]) for limit in limits)


def limits_table(shown: pd.DataFrame, names: dict[str, str]) -> Table:
    """A row per scale and limit."""
    columns: list[Column] = [
        ("scale", "w", lambda value: f"{value:g}"),
        ("limit", "Guided", names.__getitem__),
        ("calls_per_image", "NFE", number),
        ("accuracy", "Class accuracy", partial(share_of, n=shown["n"].iloc[0])),
        ("accuracy_second", "Class accuracy, second judge", percent),
        ("recall", "Recall", fixed),
        ("recall_second", "Recall, second judge", fixed),
        *((key, key.capitalize(), fixed) for key in ("precision", "coverage", "diversity", "sharpness")),
        ("saturation", "Saturation", percent),
    ]
    caption = f"Guidance that costs less and saturates less, n = {whole(shown['n'].iloc[0])} each, same start noise."
    return table(shown, with_values(shown, columns), caption)


def tradeoff(reports: Reports, rows: pd.DataFrame, shown: pd.DataFrame, names: dict[str, str]) -> list[Picture]:
    """Class accuracy against coverage by limit; nothing where there are too few samples for a coverage."""
    if not shown["coverage"].notna().any():
        return []
    weak = rows[rows["scale"] == CONDITIONAL]
    lines = pd.concat([*(weak.assign(limit=limit) for limit in names), shown]).sort_values("scale")
    fidelity_by_limit(reports.figure("guidance_limited.png"), lines.assign(limit=lines["limit"].map(names)))
    caption = "The same trade-off with guidance everywhere, in the interval alone, and rescaled. Up and right is good."
    alt = "Class accuracy against coverage by guidance scale and limit"
    return [reports.drawn("guidance_limited.png", caption, alt)]


def samples(reports: Reports, scale: float) -> list[Block]:
    """Samples at the largest scale, a column per limit."""
    headings = ["plain", "interval", "rescale"]
    caption = f"Guided with w = {scale:g} everywhere, in the interval, and rescaled: same start noise."
    alt = "Classes against limits of guidance"
    return class_sheet(reports, "guidance_limited_samples", "guidance/limited.png", caption, alt, headings)


def _sentence(limited: pd.DataFrame, everywhere: pd.DataFrame, name: str) -> str:
    before, after = (rows.iloc[rows["scale"].argmax()] for rows in (everywhere, limited))
    saved = 1 - after["calls_per_image"] / before["calls_per_image"]
    parts = [f"{percent(saved)} of the network evaluations are saved"] if saved > 0 else []
    if pd.notna(before["coverage"]):
        now, was = fixed(after["coverage"]), fixed(before["coverage"])
        parts.append(f"coverage stays {now}" if now == was else f"coverage is {now} instead of {was}")
    parts.append(f"saturation is {percent(after['saturation'])} instead of {percent(before['saturation'])}")
    fidelity = {
        "rises": "higher",
        "falls": "lower",
        "stays": "equal within the error",
    }[change(before, after, "accuracy")]
    return (
        f"At w = {after['scale']:g}, guided {name}: {listing(parts)}; class accuracy is {fidelity} "
        f"({percent(after['accuracy'])} against {percent(before['accuracy'])})."
    )
