"""Sheets of images that stay readable: as many images as one looks at, whatever the classes and the size."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from diffusion.data import GREY, save_sheet

MOST_IMAGES = 200  # of a sheet with a row for every class
MOST_COLUMNS = 20  # of a sheet whose columns are classes
SMALL = 40  # pixels a side: images up to it are shown at twice their size


def per_class(num_classes: int, most: int = 10) -> int:
    """How many images of every class a sheet shows: `most`, or fewer where there are many classes."""
    return max(1, min(most, MOST_IMAGES // num_classes))


def write_sheet(path: Path, images: Tensor, columns: int) -> None:
    """Write uint8 images (N, C, H, W) as one bare PNG, row by row; small ones at twice their size."""
    save_sheet(path, images, columns, scale=2 if images.shape[-1] <= SMALL else 1)


def write_rows(path: Path, rows: Sequence[Tensor]) -> None:
    """Write rows of as many uint8 images each (N, C, H, W) below each other; what is wider than MOST_COLUMNS goes on
    below all rows, with grey tiles at its end."""
    number = len(rows[0])
    columns = min(number, MOST_COLUMNS)
    missing = -number % columns
    padded = [pad(row, (0, 0, 0, 0, 0, 0, 0, missing), value=GREY) for row in rows]
    blocks = [row[first : first + columns] for first in range(0, number, columns) for row in padded]
    write_sheet(path, torch.cat(blocks), columns)
