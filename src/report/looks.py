"""How samplers and schedules look: label, colour, dashes and marker follow from the name and not from the row.

So DDPM has one colour in every picture, whatever stands beside it.
"""

import math

from diffusion.choices import SAMPLERS, SCHEDULES
from report.plots.style import LINES, MARKERS, Look
from report.wording import NB

SPACINGS = {"trailing": "uniform in t", "log_snr": "uniform in log-SNR", "karras": "Karras"}
STUDENT = Look("#882255", LINES[0], "*")  # distilled from a model
MEAN_FLOW = Look("#332288", LINES[0], "X")  # trained for few network evaluations from the start


def sampler_label(sampler: str, eta: float) -> str:
    """A sampler's name in text and tables, with eta where it has one."""
    name = SAMPLERS[sampler].label if sampler in SAMPLERS else sampler
    return name if math.isnan(eta) else f"{name}, η{NB}={NB}{eta:g}"


def sampler_look(sampler: str, eta: float) -> Look:
    """A sampler's look: the larger eta, the more broken is the line, and the emptier the marker."""
    fill = "full" if math.isnan(eta) or eta == 0 else "left" if eta < 1 else "none"
    dashes = 0 if math.isnan(eta) else min(len(LINES) - 1, round(4 * eta))
    marker = MARKERS[list(SAMPLERS).index(sampler) % len(MARKERS)]
    return Look(SAMPLERS[sampler].colour, LINES[dashes], marker, fill)


def schedule_look(schedule: str, variant: int = 0) -> Look:
    """A schedule's look; `variant` tells apart several curves of one schedule."""
    place = list(SCHEDULES).index(schedule)
    return Look(SCHEDULES[schedule].colour, LINES[(place + variant) % len(LINES)], MARKERS[place % len(MARKERS)])
