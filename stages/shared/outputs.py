"""What stages write beside tensors and pictures: tables and figures, the same bytes for the same values."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion.files import whole_file, write_text

CONFUSION = ("actual", "predicted", "count")


def confusion_rows(confusion: Tensor, names: Sequence[object]) -> list[list[object]]:
    """CONFUSION of every pair, of counts (K, K) by [actual, predicted]."""
    return [[names[i], names[j], count] for i, row in enumerate(confusion.tolist()) for j, count in enumerate(row)]


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON; NaN and infinity are not JSON and raise ValueError."""
    write_text(path, json.dumps(figures, indent=2, allow_nan=False) + "\n")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], digits: int = 6) -> None:
    """Write a CSV file; floats to `digits` significant digits, None as empty.

    It is written row by row to `NAME.partial` and gets its name with the last one: an unfinished table can be read, and
    if an error or a signal ends it early, the rows so far stay there.
    """
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{value:.{digits}g}" if isinstance(value, float) else value for value in row])
            file.flush()
