"""The ODE backwards: test images to noise and back, and between two of them."""

from typing import Any

import pandas as pd

from report.content import Column, Section, Table, table
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, number, spread, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """How near images come back, how they look, and what lies between two."""
    rows, noun = reports.table("score/inversion.csv"), reports.noun()
    names = [f"test {noun}s", *(f"{whole(steps)} steps" for steps in rows["steps"])]
    labelled_sheet(reports.figure("inversion.png"), reports.path("score/inversion.png"), names)
    labelled_sheet(reports.figure("interpolation.png"), reports.path("score/interpolation.png"), [], [])
    blocks = (
        inversion_table(rows, noun),
        reports.drawn(
            "inversion.png",
            f"Test {noun}s, and what comes back from their noise.",
            "Images, and what comes back from their noise",
        ),
        reports.drawn(
            "interpolation.png",
            f"Between two test {noun}s, on the great circle between their noises, {whole(rows['steps'].iloc[-1])} "
            f"steps each way, unconditional: the ends are the {noun}s themselves.",
            "Rows of images that lead from one image to another",
        ),
    )
    return Section("inversion", "The ODE backwards", (inversion_answer(rows, noun),), blocks)


def inversion_answer(rows: pd.DataFrame, noun: str) -> str:
    """How near an image comes back, with the fewest and with the most steps."""
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"DDIM runs backwards: test {noun}s turned into noise and back differ by "
        f"{spread(first['rms_error'], first['error'])} with {whole(first['steps'])} steps and by "
        f"{spread(last['rms_error'], last['error'])} with {whole(last['steps'])} "
        f"(root mean square over pixels from −1 to 1, n = {whole(last['n'])})."
    )


def inversion_table(rows: pd.DataFrame, noun: str) -> Table:
    """A row per number of steps."""
    columns: list[Column] = [
        ("steps", "Steps each way", whole),
        ("n", "n", whole),
        ("rms_error", "Difference", number),
        ("error", "± error", lambda value: number(value, 2)),
        ("noise_std", "Spread of the noise", fixed),
        ("clean_noise_std", f"From the clean {noun}", fixed),
    ]
    caption = (
        f"Test {noun}s to noise and back by DDIM, unconditional: root mean square difference (pixels from −1 to 1), "
        "and the standard deviation of the noise they were turned into, which is 1 where the noise is standard normal. "
        f"The {noun} starts as x₁, with the little noise that belongs to t = 1: a clean one does not lie on the flow, "
        "and ends nearer to 0."
    )
    return table(rows, columns, caption)
