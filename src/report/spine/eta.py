"""Exercise 4, eta in DDIM: determinism and diversity."""

import pandas as pd

from report.content import Block, Column, table, with_values
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, movement, number, percent, whole

SAME_DIVERSITY = 0.02


def eta_answer(eta: pd.DataFrame) -> list[str]:
    """Determinism and diversity at the smallest and the largest eta, at the largest number of steps."""
    rows = eta[eta["steps"] == eta["steps"].max()].sort_values("eta")
    if len(rows) < 2:
        return []
    low, high = rows.iloc[0], rows.iloc[-1]
    same, other = (
        "the same images"
        if row["rms_difference"] == 0
        else f"images that differ by {number(row['rms_difference'])} (root mean square over pixels from −1 to 1)"
        for row in (low, high)
    )
    n = f"n = {whole(low['n'])} each" if low["n"] == high["n"] else f"n = {whole(low['n'])} and {whole(high['n'])}"
    diversity = movement(low["diversity"], high["diversity"], SAME_DIVERSITY, "rises", "falls", "hardly changes")
    return [
        f"With the same start noise and {whole(low['steps'])} steps, a second run of DDIM with η = {low['eta']:g} "
        f"gives {same}, and one with η = {high['eta']:g} {other}. Diversity within a class "
        f"{diversity}: {fixed(low['diversity'])} against {fixed(high['diversity'])} of that of real images ({n})."
    ]


def eta_blocks(reports: Reports, eta: pd.DataFrame) -> list[Block]:
    """Sheet and table of eta: two runs from the same start noise."""
    columns: list[Column] = [
        ("eta", "η", lambda value: f"{value:g}"),
        ("steps", "Steps", whole),
        ("n", "n", whole),
        ("rms_difference", "Two runs differ by", number),
        ("diversity", "Diversity", fixed),
        ("kid", "KID", number),
        ("accuracy", "Class accuracy", percent),
        ("recall", "Recall", fixed),
    ]
    caption = (
        "η in DDIM. Two runs: same start noise and classes, other noise in the steps, root mean square over pixels. "
        "Diversity: feature distance within a class over that of real images."
    )
    names = [f"η = {value:g}, run {run}" for value in dict.fromkeys(eta["eta"]) for run in "AB"]
    labelled_sheet(reports.figure("eta.png"), reports.path("evaluate/eta.png"), names)
    sheet = reports.drawn(
        "eta.png",
        f"Two runs per η with {whole(eta['steps'].max())} steps, each column from the same start noise: where both "
        "rows are equal, the sampler is deterministic.",
        "Pairs of runs for each eta",
    )
    return [sheet, table(eta, with_values(eta, columns), caption)]
