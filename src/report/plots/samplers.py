"""Pictures of samplers: their quality against their time and against their network calls."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from report.plots.style import COLOURS, FLOOR_COLOUR, LINES, MARKERS, panels, save, short_number, styled

LABEL_OFFSETS = ((6, 6), (6, -14), (-18, 7), (6, 6), (-18, -14))


@styled
def speed_quality(path: Path, measures: Sequence[tuple[str, pd.DataFrame, tuple[float, float]]], images: int) -> None:
    """Seconds for `images` images (log) against quality, a panel per measure: (label, table, (floor mean, floor std)).

    Tables hold `sampler` (label), `calls`, `seconds`, `value`, `error` (NaN or 0 where there is none): lower is better.
    """
    figure, grid = panels(7.6 if len(measures) == 1 else 5.1 * len(measures), 4.3, columns=len(measures))
    series = list(dict.fromkeys(name for _, table, _ in measures for name in table["sampler"]))
    for axes, (label, table, floor) in zip(grid.flat, measures, strict=True):
        _floor(axes, *floor)
        for name, rows in table.groupby("sampler", sort=False):
            _points(axes, rows["seconds"], rows, name, series.index(name))
            _numbers(axes, rows["seconds"], rows, series.index(name))
        axes.set(xlabel=f"seconds for {images} images", ylabel=label, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(short_number))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    _legend(figure)
    save(figure, path)


@styled
def quality_by_calls(path: Path, measures: Sequence[tuple[str, pd.DataFrame, tuple[float, float]]]) -> None:
    """Network calls per image (log) against quality, a panel per measure: (label, table, (floor mean, floor std)).

    Tables hold `sampler` (label), `calls`, `value`, `error` (NaN or 0 where there is none).
    """
    figure, grid = panels(7.6 if len(measures) == 1 else 4.6 * len(measures), 4.1, columns=len(measures))
    for axes, (label, table, floor) in zip(grid.flat, measures, strict=True):
        _floor(axes, *floor)
        for index, (name, rows) in enumerate(table.groupby("sampler", sort=False)):
            _points(axes, rows["calls"], rows, name, index)
        axes.set(xlabel="network calls per image", ylabel=label, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda calls, _: f"{calls:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    _legend(figure)
    save(figure, path)


def _legend(figure: Figure) -> None:
    """Below the panels, of which the first has every series: inside, it would lie on points of some run."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _points(axes: Axes, x: pd.Series, rows: pd.DataFrame, name: str, index: int) -> None:
    style = {"marker": MARKERS[index % len(MARKERS)], "color": COLOURS[index % len(COLOURS)], "markersize": 7}
    errors, dashes = rows["error"].fillna(0), LINES[index % len(LINES)]
    axes.errorbar(x, rows["value"], yerr=errors, label=name, linewidth=1.1, linestyle=dashes, **style)


def _numbers(axes: Axes, x: pd.Series, rows: pd.DataFrame, index: int) -> None:
    offset = LABEL_OFFSETS[index % len(LABEL_OFFSETS)]
    for at, value, calls in zip(x, rows["value"], rows["calls"], strict=True):
        axes.annotate(f"{calls:,}", (at, value), offset, textcoords="offset points", fontsize=8.5)


def _floor(axes: Axes, mean: float | None, std: float) -> None:
    if mean is None:  # too few samples for this measure
        return
    axes.axhline(mean, color=FLOOR_COLOUR, linewidth=1.2)
    axes.axhspan(mean - std, mean + std, color=FLOOR_COLOUR, alpha=0.15, linewidth=0)
    below = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "ha": "right", "va": "top"}
    axes.annotate("real images", (0.99, mean - std), (0, -2), color=FLOOR_COLOUR, **below)
