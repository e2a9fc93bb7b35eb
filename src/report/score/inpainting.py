"""Half of an image given, the rest drawn: what follows from a score that knows no conditions."""

from typing import Any

import pandas as pd

from report.content import Column, Section, Table, table
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import differ, nfe, number, percent, share_error, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """How often the whole is recognised, and what different draws look like."""
    rows, noun = reports.table("score/inpainting.csv"), reports.noun()
    labelled_sheet(reports.figure("inpainting.png"), reports.path("score/inpainting.png"), [])
    most = rows.sort_values("passes").iloc[-1]
    caption = (
        f"A test {noun}, the half that was given, and {whole(most['draws'])} draws of the rest in "
        f"{nfe(most['calls'])} each, unconditional. The given half comes out as it is."
    )
    blocks = (
        reports.drawn("inpainting.png", caption, "Images, their left halves, and several ways to complete them"),
        inpainting_table(rows, noun),
    )
    return Section("inpainting", "Half given, half drawn", (inpainting_answer(rows, noun),), blocks)


def inpainting_answer(rows: pd.DataFrame, noun: str) -> str:
    """How often the class survives with one pass and with several, and whether resampling made a difference."""
    drawn = rows[rows["passes"] > 0].sort_values("passes")
    once, often = drawn.iloc[0], drawn.iloc[-1]
    errors = [share_error(row["accuracy"], row["n"]) for row in (once, often)]  # draws of one image are no new images
    changed = "changes" if differ(once["accuracy"], often["accuracy"], *errors) else "does not change"
    return (
        f"The denoiser completes images, though it was never trained to: with the left half of a test {noun} put into "
        f"every estimate, the judge recognises the class of the whole in {percent(often['accuracy'])} of the draws, "
        f"unconditional (n = {whole(often['n'])}, {whole(often['draws'])} draws each). Going over every part of the "
        f"way {whole(often['passes'])} times, as RePaint does, {changed} that by more than chance: "
        f"{percent(once['accuracy'])} in one pass. `python -m diffusion.sample --inpaint` does it with any image."
    )


def inpainting_table(rows: pd.DataFrame, noun: str) -> Table:
    """A row for each number of passes, and one for the images themselves."""
    shown = rows.assign(
        method=[
            f"{whole(passes)} passes" if passes > 1 else "one pass" if passes else f"test {noun}s"
            for passes in rows["passes"]
        ],
        error=[share_error(share, n) for share, n in zip(rows["accuracy"], rows["n"], strict=True)],
    )
    columns: list[Column] = [
        ("method", "Right half", str),
        ("calls", "Network evaluations", whole),
        ("n", "n", whole),
        ("accuracy", "Recognised", percent),
        ("error", "± error", percent),
        ("spread", "Spread of the draws", number),
    ]
    caption = (
        "How often the judge recognises the class whose left half was given; the error follows from the number of "
        "images, since draws of the same image are alike. Spread: the standard deviation of a drawn pixel over the "
        "draws of one image, root mean square (pixels from −1 to 1)."
    )
    return table(shown, columns, caption)
