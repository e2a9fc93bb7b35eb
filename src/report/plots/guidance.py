"""Pictures of guidance: what its scale does to fidelity and to coverage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from report.plots.style import FLOOR_COLOUR, MARKERS, line, panel, panels, save, styled

LABEL = (0.14, 0.08)  # width and height of a label, as shares of what the points span


def name_scales(axes: Axes, rows: pd.DataFrame, x: str, y: str, offset: tuple[float, float]) -> None:
    """Write its scale beside every point of a line, `offset` away, except where it would lie upon one before it."""
    width, height = (share * float(np.ptp(rows[column])) for share, column in zip(LABEL, (x, y), strict=True))
    named: list[tuple[float, float]] = []
    for scale, right, up in rows[["scale", x, y]].itertuples(index=False):
        if all(abs(right - other) > width or abs(up - others) > height for other, others in named):
            axes.annotate(f"w = {scale:g}", (right, up), offset, textcoords="offset points", fontsize=9)
            named.append((right, up))


@styled
def fidelity_coverage(path: Path, table: pd.DataFrame, floor: Mapping[str, float | None]) -> None:
    """Guidance as a path through fidelity (class accuracy, precision) against coverage, from one row per `scale`."""
    figure, axes = panel(7.0, 4.6)
    for index, (measure, label) in enumerate((("accuracy", "class accuracy"), ("precision", "precision"))):
        rows = table[table["scale"] > 0] if measure == "accuracy" else table  # w = 0 asks for no class
        rows = rows.dropna(subset=[measure, "coverage"])
        axes.plot(rows["coverage"], rows[measure], label=label, marker=MARKERS[index], **line(index))
        name_scales(axes, rows, "coverage", measure, (5, 6 if index == 0 else -13))
    coverage, precision = floor["coverage"], floor["precision"]
    if coverage is not None and precision is not None:
        star: dict[str, Any] = {"marker": "*", "markersize": 13, "color": FLOOR_COLOUR, "linestyle": "none"}
        axes.plot(coverage, precision, label="real images (precision)", **star)
    axes.set(xlabel="coverage (share of real images with a sample near them)", ylabel="fidelity")
    axes.margins(0.12)
    axes.legend(loc="best")
    save(figure, path)


@styled
def fidelity_by_limit(path: Path, table: pd.DataFrame) -> None:
    """Class accuracy against coverage, a line per `limit` of guidance with its `scale` along it."""
    figure, axes = panel(7.0, 4.6)
    for index, (limit, rows) in enumerate(table.groupby("limit", sort=False)):
        axes.plot(rows["coverage"], rows["accuracy"], label=limit, marker=MARKERS[index], **line(index))
    points = table.drop_duplicates(["scale", "coverage", "accuracy"])  # lines may start from a common one
    for index, (_, rows) in enumerate(points.groupby("limit", sort=False)):
        for scale, x, y in rows[["scale", "coverage", "accuracy"]].itertuples(index=False):
            axes.annotate(f"w = {scale:g}", (x, y), (-8, (8, -16, 20)[index]), textcoords="offset points", fontsize=9)
    axes.set(xlabel="coverage (share of real images with a sample near them)", ylabel="class accuracy")
    axes.margins(0.12)
    axes.legend(loc="best", title="guided, w along the line")
    save(figure, path)


@styled
def fidelity_variety(path: Path, lines: Mapping[str, pd.DataFrame]) -> None:
    """Accuracy and precision against recall and coverage, a line per kind of guidance with its `scale` along it."""
    figure, axes = panels(9.6, 7.2, columns=2, rows=2)
    for row, fidelity in enumerate(("accuracy", "precision")):
        for column, variety in enumerate(("recall", "coverage")):
            place = axes[row, column]
            for index, (name, found) in enumerate(lines.items()):
                shown = found.sort_values("scale")
                place.plot(shown[variety], shown[fidelity], label=name, marker=MARKERS[index], **line(index))
                named = shown if index == 0 else shown[shown["scale"] > 1]  # all lines begin at w = 1
                name_scales(place, named, variety, fidelity, (-34, 7) if index == 0 else (9, -4))
            place.set(xlabel=variety, ylabel="class accuracy" if fidelity == "accuracy" else fidelity)
            place.margins(0.12)
    axes[0, 0].legend(loc="best", title="w along the line")
    save(figure, path)


@styled
def measures_by_scale(path: Path, table: pd.DataFrame, measures: Mapping[str, str]) -> None:
    """Several columns of a table (`{column: label}`) against the guidance `scale`, each on the same axis from 0."""
    figure, axes = panel(7.0, 4.2)
    for index, (column, label) in enumerate(measures.items()):
        axes.plot(table["scale"], table[column], label=label, marker=MARKERS[index], **line(index))
    axes.axhline(1, color=FLOOR_COLOUR, linewidth=1)
    axes.set(xlabel="guidance scale w", ylabel="share, or ratio to real images", xticks=list(table["scale"]))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda scale, _: f"{scale:g}"))
    axes.legend()
    save(figure, path)
