"""What a page shows class by class, readable for 2 classes as for 100: sheets, confusion matrices, names."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from report.content import Block, Cell, Folded, Gallery, Picture, Table
from report.plots.confusion import confusion_of_many, confusions
from report.plots.names import names_for_pictures
from report.plots.sheet import labelled_picture, labelled_sheet
from report.reading import Reports
from report.wording import isolated, percent, whole

MANY, PART = 20, 10  # classes: more are shown in parts, of which as many as are not many are open
PER_CLASS = 2  # images of a class by every model, side by side
MOST_MISTAKES = 12  # pairs of classes that a table names where there are many


def class_sheet(
    reports: Reports, name: str, sheet: str, caption: str, alt: str, headings: Sequence[str] = ()
) -> list[Block]:
    """The sheet `sheet` of a stage, a row per class, as the page's own picture `name`, with the names of the classes
    and, above its columns, `headings`. Many classes are shown in parts, the first of them open.
    """
    names = names_for_pictures(reports.class_names())
    if len(names.drawn) <= MANY:
        labelled_sheet(reports.figure(f"{name}.png"), reports.path(sheet), names.drawn, headings)
        return [reports.drawn(f"{name}.png", with_legend(caption, names.legend), alt)]
    number = len(names.full)
    tiles = reports.tiles(sheet, number, reports.columns_of(sheet, number))

    def draw(file: str, first: int) -> Picture:
        part = names.take(range(first, min(first + PART, number)))
        drawn = picture_of(tiles[first : first + PART])
        labelled_picture(reports.figure(file), drawn, part.drawn, headings)
        which = f"Classes {first + 1} to {first + len(part.drawn)} of {number}."
        return reports.drawn(file, with_legend(f"{caption} {which}", part.legend), f"{alt}: {which}")

    return in_parts(name, number, draw, MANY // PART)


def models_sheet(reports: Reports, name: str, sheet: str, rows: Sequence[str], caption: str, alt: str) -> list[Block]:
    """A sheet with a row per model and PER_CLASS columns for every class, which goes on below where there are
    many: each part is a picture with its classes in the caption."""
    full = reports.class_names()
    if len(full) <= PART:
        labelled_sheet(reports.figure(f"{name}.png"), reports.path(sheet), rows)
        return [reports.drawn(f"{name}.png", caption, alt)]
    tiles = reports.tiles(sheet, -(-len(full) // PART) * len(rows), PART * PER_CLASS)

    def draw(file: str, first: int) -> Picture:
        block, classes = first // PART * len(rows), full[first : first + PART]
        shown = tiles[block : block + len(rows), : len(classes) * PER_CLASS]
        labelled_picture(reports.figure(file), picture_of(shown), rows)
        which = f"From left to right, two each: {', '.join(map(isolated, classes))}."
        return reports.drawn(file, f"{caption} {which}", f"{alt}: classes {first + 1} to {first + len(classes)}")

    return in_parts(name, len(full), draw, 1)


def in_parts(name: str, number: int, draw: Callable[[str, int], Picture], num_open: int) -> list[Block]:
    """Pictures of PART classes each, the first `num_open` of them open and the others behind a fold."""
    pictures = [draw(f"{name}_{first // PART + 1}.png", first) for first in range(0, number, PART)]
    rest = tuple(pictures[num_open:])
    folded = [Folded(f"The other {whole(number - num_open * PART)} classes", (Gallery(rest),))] if rest else []
    return [Gallery(tuple(pictures[:num_open])), *folded]


def confusion_blocks(
    reports: Reports, name: str, matrices: Mapping[str, np.ndarray], caption: str, alt: str
) -> list[Block]:
    """Confusion matrices (classes, classes) by their titles, side by side.

    Of many classes the most frequent mistakes are a table, and every matrix is a picture of its own behind a fold.
    """
    full = reports.class_names()
    names = names_for_pictures(full)
    told = with_legend(caption, names.legend)
    if len(full) <= MANY:
        confusions(reports.figure(f"{name}.png"), matrices, names.drawn)
        return [reports.drawn(f"{name}.png", told, alt)]
    pictures = []
    for number, (title, counts) in enumerate(matrices.items(), start=1):
        confusion_of_many(reports.figure(f"{name}_{number}.png"), title, counts, names.drawn)
        pictures.append(reports.drawn(f"{name}_{number}.png", f"{told} Here: {title}.", f"{alt}: {title}"))
    return [mistakes_table(matrices, full), Folded(f"All {whole(len(full))} classes", tuple(pictures))]


def mistakes_table(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> Table:
    """The most frequent mistakes in each matrix."""
    rows = []
    for title, counts in matrices.items():
        wrong = counts * (1 - np.eye(len(counts), dtype=int))
        for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_MISTAKES]:
            row, column = divmod(int(place), len(counts))
            if wrong[row, column]:
                n, of = int(wrong[row, column]), int(counts[row].sum())
                rows.append((Cell(title), Cell(names[row]), Cell(names[column]), Cell(whole(n), n), _share(n, of)))
    caption = f"The most frequent mistakes, at most {MOST_MISTAKES} each."
    headings = ("Images", "Class", "Recognised as", "Number", "Of the class")
    return Table(caption, headings, (False, False, False, True, True), tuple(rows))


def counted(counts: pd.DataFrame) -> str:
    """The classes with their images of training, largest first, in words."""
    rows = counts.sort_values("train", ascending=False, kind="stable")
    return ", ".join(f"{isolated(name)} ({whole(n)})" for name, n in zip(rows["class"], rows["train"], strict=True))


def with_legend(caption: str, legend: str) -> str:
    """A caption, with the names that the picture does not show in full."""
    return f"{caption} Names in full: {legend}." if legend else caption


def picture_of(tiles: np.ndarray, gap: int = 2, grey: int = 128) -> np.ndarray:
    """Tiles (R, K, H, W) or (R, K, H, W, 3), uint8, as one picture, float from 0 to 1, with `gap` pixels between."""
    widths = [(0, 0), (0, 0), (0, gap), (0, gap), *[(0, 0)] * (tiles.ndim - 4)]
    padded = np.pad(tiles, widths, constant_values=grey).swapaxes(1, 2)
    rows, height, columns, width = padded.shape[:4]
    picture = padded.reshape(rows * height, columns * width, *tiles.shape[4:])
    return (picture[: -gap or None, : -gap or None] / 255).astype(np.float32)


def _share(n: int, of: int) -> Cell:
    return Cell(percent(n / of), n / of)
