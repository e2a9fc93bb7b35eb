"""A denoiser trained for likelihood alone: the committed results of `make study STUDY=density`."""

from report.content import Block, Text, table
from report.reading import Reports
from report.score.methods import COSTS, METHODS, cost
from report.wording import duration, whole

STUDY = "density"


def study_blocks(reports: Reports) -> list[Block]:
    """Text and table; nothing where there are no results (timing.json is written last)."""
    if f"{STUDY}/timing.json" not in reports:
        return []
    rows, about = reports.table(f"{STUDY}/density.csv"), reports.record(f"{STUDY}/about.json")
    timing = reports.record(f"{STUDY}/timing.json")
    bound, ode, same = (rows[rows["method"] == name].iloc[0] for name in METHODS)
    text = Text(
        f"A denoiser that is trained for likelihood alone, on {whole(about['images'])} images and for "
        f"{duration(about['cpu_seconds'])} of one core (`make study STUDY=density`), pays {cost(bound)} by the "
        f"variational bound, unconditional; by the ODE {cost(ode)}, where the bound gives {cost(same)} for the same "
        "images. Its network outputs probabilities of grey values, which are multiplied in closed form with what a "
        "pixel shows by itself."
    )
    caption = (
        f"Bits per dimension of 8-bit test images for a denoiser trained for likelihood, {whole(timing['parameters'])} "
        f"parameters, {whole(about['steps'])} steps; ± one standard error between images."
    )
    return [text, table(rows, COSTS, caption)]
