"""A sheet of pictures that a stage wrote, with the names of its rows and columns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.textpath import TextPath

from report.plots.names import in_their_fonts
from report.plots.style import DPI, save, styled

ROW_NAME_SIZE = 9.5


def labelled_sheet(path: Path, sheet: Path, rows: Sequence[str], columns: Sequence[str] = ()) -> None:
    """A bare sheet of pictures (PNG) with a name beside every row and above every column, pixel for pixel."""
    labelled_picture(path, plt.imread(sheet), rows, columns)


@styled
def labelled_picture(path: Path, picture: np.ndarray, rows: Sequence[str], columns: Sequence[str] = ()) -> None:
    """The same for pixels (H, W) or (H, W, 3), float from 0 to 1."""
    with in_their_fonts([*rows, *columns]):
        height, width = picture.shape[:2]
        left, top = 16 + max(map(_text_pixels, rows), default=-10), 28 if columns else 6
        whole = (width + left + 6, height + top + 6)
        figure = plt.figure(figsize=(whole[0] / DPI, whole[1] / DPI), layout="none")
        axes = figure.add_axes((left / whole[0], 6 / whole[1], width / whole[0], height / whole[1]))
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        for index, name in enumerate(rows):
            at = 1 - (index + 0.5) / len(rows)
            axes.text(-8 / width, at, name, ha="right", va="center", transform=axes.transAxes, fontsize=ROW_NAME_SIZE)
        for index, name in enumerate(columns):
            at = (index + 0.5) / len(columns)
            axes.text(at, 1 + 6 / height, name, ha="center", va="bottom", transform=axes.transAxes, fontsize=9)
        save(figure, path)


def _text_pixels(text: str) -> int:
    return round(TextPath((0, 0), text, size=ROW_NAME_SIZE).get_extents().width * DPI / 72)
