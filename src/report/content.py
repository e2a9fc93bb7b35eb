"""What a page is made of: sections of text, pictures and tables, the same for HTML and for Markdown."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` between backticks."""

    text: str
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Picture:
    """A PNG at `path`, relative to the reports folder, with its size in pixels and a caption of what one sees."""

    path: str
    width: int
    height: int
    caption: str
    alt: str
    kind: str = field(default="picture", init=False)


@dataclass(frozen=True)
class Gallery:
    """Pictures that belong side by side."""

    pictures: tuple[Picture, ...]
    kind: str = field(default="gallery", init=False)


@dataclass(frozen=True)
class Cell:
    """The text shown, and the number to sort by (None: sort by the text)."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; `numeric` says which columns are figures."""

    caption: str
    headings: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Folded:
    """Blocks behind a summary that opens on a click; left out of the Markdown page."""

    summary: str
    blocks: tuple["Block", ...]
    kind: str = field(default="folded", init=False)


Block = Text | Picture | Gallery | Table | Folded


@dataclass(frozen=True)
class Section:
    """Blocks under a heading, after the answer to it: one paragraph per string; `label` names the exercise, if any."""

    anchor: str
    title: str
    answer: tuple[str, ...]
    blocks: tuple[Block, ...]
    label: str = ""


@dataclass(frozen=True)
class Tile:
    """One headline figure: its name, its value, and what to compare it with."""

    name: str
    value: str
    beside: str


Column = tuple[str, str, Callable[[Any], str]]  # column of a frame, heading, function that writes a value as text


def table(frame: pd.DataFrame, columns: Sequence[Column], caption: str) -> Table:
    """A frame as a Table."""
    numeric = tuple(pd.api.types.is_numeric_dtype(frame[key]) for key, _, _ in columns)
    kinds = list(zip(columns, numeric, strict=True))
    rows = tuple(
        tuple(Cell(show(row[key]), _sort_value(row[key]) if is_number else None) for (key, _, show), is_number in kinds)
        for row in frame.to_dict("records")
    )
    return Table(caption, tuple(heading for _, heading, _ in columns), numeric, rows)


def with_values(frame: pd.DataFrame, columns: Sequence[Column]) -> list[Column]:
    """The columns that have a value in some row: few samples leave a measure empty everywhere, and a study may be older
    than a measure."""
    return [column for column in columns if column[0] in frame and frame[column[0]].notna().any()]


def _sort_value(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
