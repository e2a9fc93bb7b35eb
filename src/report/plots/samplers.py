"""Pictures of samplers: their quality against their time and against their network evaluations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from report.plots.style import FLOOR_COLOUR, Look, by_name, panels, save, short_number, styled

LABEL_OFFSETS = ((6, 6), (6, -14), (-18, 7), (6, 6), (-18, -14))
NOTE: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top"}


class Panel(NamedTuple):
    """A measure (label of the axis) of which less is better, in a table, with its mean and std for real images.

    The table has `label` (the series), `calls`, `seconds`, `value` (NaN: not measured), `error` (NaN or 0: none). A
    floor of None is not drawn.
    """

    measure: str
    table: pd.DataFrame
    floor: float | None
    floor_std: float


@styled
def speed_quality(path: Path, panel: Panel, looks: Mapping[str, Look], axis: str) -> None:
    """Seconds (log) against quality, with the network evaluations beside every point; `looks` by series.

    Where there is no value, a vertical line shows the seconds alone.
    """
    figure, ((axes,),) = panels(7.6, 4.3, columns=1)
    _floor(axes, panel)
    measured = panel.table["value"].notna()
    for index, (name, rows) in enumerate(by_name(panel.table[measured], "label")):
        _points(axes, rows["seconds"], rows, name, looks[name])
        _numbers(axes, rows["seconds"], rows, LABEL_OFFSETS[index % len(LABEL_OFFSETS)])
    for label, calls, seconds in panel.table.loc[~measured, ["label", "calls", "seconds"]].itertuples(index=False):
        look = looks[label]
        axes.axvline(seconds, color=look.colour, linewidth=1.4, linestyle=":")
        above = axes.get_xaxis_transform()
        axes.annotate(f"{label}, {calls:,}", (seconds, 0.98), (-5, 0), xycoords=above, color=look.colour, **NOTE)
    axes.set(xlabel=axis, ylabel=panel.measure, xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    _legend(figure)
    save(figure, path)


@styled
def quality_by_calls(path: Path, measures: Sequence[Panel], looks: Mapping[str, Look]) -> None:
    """Network evaluations per image (log) against quality, side by side for each measure; `looks` by series."""
    figure, grid = panels(7.6 if len(measures) == 1 else 4.6 * len(measures), 4.1, columns=len(measures))
    for axes, panel in zip(grid.flat, measures, strict=True):
        _floor(axes, panel)
        for name, rows in by_name(panel.table.dropna(subset="value"), "label"):
            _points(axes, rows["calls"], rows, name, looks[name])
        axes.set(xlabel="network evaluations per image", ylabel=panel.measure, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda calls, _: f"{calls:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    _legend(figure)
    save(figure, path)


def _legend(figure: Figure) -> None:
    """Below the panels, of which the first has every series: inside, it would lie on points of some run."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=3)


def _points(axes: Axes, x: pd.Series, rows: pd.DataFrame, name: str, look: Look) -> None:
    style: dict[str, Any] = {"marker": look.marker, "fillstyle": look.fill, "linestyle": look.dashes}
    errors = rows["error"].fillna(0)
    bars = errors if errors.any() else None
    axes.errorbar(x, rows["value"], yerr=bars, label=name, color=look.colour, linewidth=1.1, markersize=7, **style)


def _numbers(axes: Axes, x: pd.Series, rows: pd.DataFrame, offset: tuple[int, int]) -> None:
    for at, value, calls in zip(x, rows["value"], rows["calls"], strict=True):
        axes.annotate(f"{calls:,}", (at, value), offset, textcoords="offset points", fontsize=8.5)


def _floor(axes: Axes, panel: Panel) -> None:
    if panel.floor is None:  # too few samples for this measure
        return
    low = panel.floor - panel.floor_std
    axes.axhline(panel.floor, color=FLOOR_COLOUR, linewidth=1.2)
    axes.axhspan(low, panel.floor + panel.floor_std, color=FLOOR_COLOUR, alpha=0.15, linewidth=0)
    below = axes.get_yaxis_transform()
    axes.annotate("real images", (0.99, low), (0, -2), xycoords=below, color=FLOOR_COLOUR, **NOTE)
