"""How many images the classes have."""

from pathlib import Path

import pandas as pd

from report.plots.names import in_their_fonts, names_for_pictures
from report.plots.style import COLOURS, panel, save, styled

NAMED = 40  # classes that have room for their names


@styled
def class_shares(path: Path, counts: pd.DataFrame) -> str:
    """A bar per class, largest first, from `class, train`; returns the names that it does not show in full."""
    order = (-counts["train"]).argsort(kind="stable").tolist()
    rows, names = counts.iloc[order], names_for_pictures(counts["class"].tolist()).take(order)
    with in_their_fonts(names.drawn):
        if len(rows) <= NAMED:
            figure, axes = panel(7.0, 0.9 + 0.26 * len(rows))
            bars = axes.barh(names.drawn, rows["train"], color=COLOURS[0])
            axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=9)
            axes.invert_yaxis()
            axes.set_xlabel("images of training")
            axes.grid(False, axis="y")
        else:
            figure, axes = panel(7.6, 3.2)
            axes.bar(range(1, len(rows) + 1), rows["train"], color=COLOURS[0], width=0.9)
            axes.set(xlabel="classes, largest first", ylabel="images of training")
        save(figure, path)
    return names.legend if len(rows) <= NAMED else ""
