"""A grid of pictures with words around each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from report.plots.style import panels, save, styled


@styled
def picture_grid(
    path: Path,
    images: np.ndarray,
    columns: Sequence[str],
    rows: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
) -> None:
    """Pictures (R, K, H, W) or (R, K, H, W, 3), uint8, with a heading per column, a name per row and a note under each.

    The forward process is one row of these, two schedules on the same image are two.
    """
    num_rows, num_columns = images.shape[:2]
    width, height = 1.35 * num_columns + (0.4 if rows else 0.1), 1.68 * num_rows + 0.4
    figure, grid = panels(width, height, num_columns, num_rows)
    for (row, column), axes in np.ndenumerate(grid):
        _bare_picture(axes, images[row, column])
        axes.set_xlabel(notes[row][column] if notes else "", fontsize=9)
        axes.set_title(columns[column] if row == 0 else "", fontsize=9.5, loc="center")
        axes.set_ylabel(rows[row] if rows and column == 0 else "")
    save(figure, path)


def _bare_picture(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
