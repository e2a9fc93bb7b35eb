"""Confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from report.plots.style import panels, save, styled


@styled
def confusions(path: Path, matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Confusion matrices (classes, classes) of counts side by side, rows = actual, shaded by the share of the row."""
    columns = 2 if len(matrices) in (2, 4) else min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    figure, grid = panels(4.4 * columns, 4.5 * rows, columns, rows)
    small = len(class_names) <= 12
    for axes in grid.flat[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, counts) in zip(grid.flat, matrices.items(), strict=False):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(counts) if small else ():
            colour = "white" if shares[row, column] > 0.6 else "#30383e"
            axes.text(column, row, f"{count:g}" if count else "", ha="center", va="center", fontsize=8, color=colour)
        ticks = range(len(class_names))
        axes.set_xticks(ticks, class_names, fontsize=8, rotation=0 if max(map(len, class_names)) < 3 else 60)
        axes.set_yticks(ticks, class_names, fontsize=8)
        axes.set(title=title, xlabel="recognised as", ylabel="class")
        axes.grid(False)
    save(figure, path)


def confusion_matrix(counts: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Counts (classes, classes) from `actual, predicted, count`; pairs that do not occur are 0."""
    wide = counts.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    return wide.reindex(index=list(names), columns=list(names), fill_value=0).to_numpy()
