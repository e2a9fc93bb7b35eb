"""How every picture with words in it looks, and how it is written. Only this package imports matplotlib.

One function draws one PNG; data come as pandas tables and numpy arrays (never tensors). Colours are those of Okabe and
Ito (2008), which stay apart for colour-blind readers; line styles and markers differ as well, so that a grey print can
be read. The same data give the same bytes: no dates, no versions.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from diffusion.files import whole_file

DPI = 120
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B3F00", "#000000")
LINES = ("-", (0, (5, 2)), "-.", (0, (1, 1.2)), (0, (7, 2, 1, 2, 1, 2)), "--", (0, (3, 1, 1, 1)), ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "*", "X")
FLOOR_COLOUR = "#5f6a72"
styled = matplotlib.rc_context(
    {
        "font.family": "DejaVu Sans",
        "font.size": 10.5,
        "text.parse_math": False,  # a $ in the name of a class is a $
        "axes.labelsize": 10.5,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#5f6a72",
        "axes.grid": True,
        "grid.color": "#e3e6e8",
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "lines.linewidth": 1.8,
        "figure.constrained_layout.use": True,
    }
)


class Look(NamedTuple):
    """How a series is drawn."""

    colour: str
    dashes: object  # as matplotlib takes them
    marker: str
    fill: str = "full"  # of the marker: full, left or none


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one pair of axes."""
    return plt.subplots(figsize=(width, height))


def panels(width: float, height: float, columns: int, rows: int = 1, sharey: bool = False) -> tuple[Figure, np.ndarray]:
    """A figure of this size in inches with axes (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(width, height), sharey=sharey, squeeze=False)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, its folder too, and close the figure in any case."""
    try:
        with whole_file(path) as partial:
            figure.savefig(partial, dpi=DPI, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    finally:
        plt.close(figure)


def line(index: int, look: Look | None = None) -> dict[str, Any]:
    """Colour, dashes and width of the index-th line: later lines are thinner, so that equal curves are both seen.

    Colour and dashes are those of `look` where the line has one of its own.
    """
    colour, dashes = look[:2] if look else (COLOURS[index % len(COLOURS)], LINES[index % len(LINES)])
    return {"color": colour, "linestyle": dashes, "linewidth": max(1.4, 3.0 - 0.5 * index)}


def by_name(table: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The names in a column, in the order of their first rows, each with its rows."""
    for name, rows in table.groupby(column, sort=False):
        yield str(name), rows


def powers_of_ten(axis: Axis) -> None:
    """Name the powers of ten of a logarithmic axis, and none between, without a formula (`styled` parses none)."""
    signs = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"10{f'{math.log10(value):.0f}'.translate(signs)}"))
    axis.set_minor_formatter(NullFormatter())


def short_number(value: float, _position: int) -> str:
    """Three significant digits of a tick, for `FuncFormatter`."""
    return f"{value:,.3g}"
