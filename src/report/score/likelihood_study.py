"""A denoiser trained for likelihood alone: the committed results of `make study STUDY=density`."""

from typing import Any

from report.appendix import machines
from report.content import Folded, table
from report.reading import Reports
from report.score.methods import COSTS, METHODS, cost
from report.studies import DENSITY, Findings
from report.wording import duration, whole


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """Text and table."""
    rows, about = reports.table("density/density.csv"), DENSITY.about(reports)
    timing = reports.record("density/timing.json")
    bound, ode, same = (rows[rows["method"] == name].iloc[0] for name in METHODS)
    text = (
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
    machine = Folded("The machine of this study", (machines(reports, ["density"]),))
    return Findings((text,), (table(rows, COSTS, caption), machine))
