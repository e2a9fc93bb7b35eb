"""Confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from report.plots.names import in_their_fonts
from report.plots.style import panels, save, styled

FEW = 12  # classes whose counts are written in the cells
INCHES = 0.155  # of a class of many: its name is as high
AROUND = 1.7  # inches for names, title and axes of many classes


@styled
def confusions(path: Path, matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Confusion matrices (classes, classes) of counts side by side, rows = actual, shaded by the share of the row."""
    columns = 2 if len(matrices) in (2, 4) else min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    with in_their_fonts(class_names):
        figure, grid = panels(4.4 * columns, 4.5 * rows, columns, rows)
        for axes in grid.flat[len(matrices) :]:
            axes.set_axis_off()
        for axes, (title, counts) in zip(grid.flat, matrices.items(), strict=False):
            _draw(axes, title, counts)
            if len(class_names) <= FEW:
                _write_counts(axes, counts)
            ticks = range(len(class_names))
            axes.set_xticks(ticks, class_names, fontsize=8, rotation=0 if max(map(len, class_names)) < 3 else 60)
            axes.set_yticks(ticks, class_names, fontsize=8)
        save(figure, path)


@styled
def confusion_of_many(path: Path, title: str, counts: np.ndarray, class_names: Sequence[str]) -> None:
    """One confusion matrix of many classes, as large as their names need, with fine lines that lead to them."""
    side = INCHES * len(class_names) + AROUND
    with in_their_fonts(class_names):
        figure, ((axes,),) = panels(side, side, columns=1)
        _draw(axes, title, counts)
        ticks = range(len(class_names))
        axes.set_xticks(ticks, class_names, fontsize=7.5, rotation=90)
        axes.set_yticks(ticks, class_names, fontsize=7.5)
        axes.set_xticks([tick - 0.5 for tick in ticks[::5]], minor=True)
        axes.set_yticks([tick - 0.5 for tick in ticks[::5]], minor=True)
        axes.grid(True, which="minor")
        save(figure, path)


def confusion_matrix(counts: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Counts (classes, classes) from `actual, predicted, count`; pairs that do not occur are 0."""
    wide = counts.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    return wide.reindex(index=list(names), columns=list(names), fill_value=0).to_numpy()


def _draw(axes: Axes, title: str, counts: np.ndarray) -> None:
    axes.imshow(_shares(counts), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set(title=title, xlabel="recognised as", ylabel="class")
    axes.grid(False)


def _write_counts(axes: Axes, counts: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if _shares(counts)[row, column] > 0.6 else "#30383e"
        axes.text(column, row, f"{count:g}" if count else "", ha="center", va="center", fontsize=8, color=colour)


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
