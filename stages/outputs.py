"""What stages write beside tensors and pictures: tables and figures, the same bytes for the same values."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffusion.training import Progress


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON; NaN and infinity are not JSON and raise ValueError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file row by row, so that a table under way can be looked at; floats to 6 digits, None as empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
            file.flush()


def watched(steps: Iterable[Progress], name: str, num_steps: int, batch_size: int) -> Iterator[Progress]:
    """The same, under a progress bar with loss, images per second and time left."""
    with tqdm(total=num_steps * batch_size, desc=name, unit="img", unit_scale=True) as bar:
        for progress in steps:
            bar.set_postfix(loss=f"{progress.means['loss']:.4f}", refresh=False)
            bar.update(progress.step * batch_size - bar.n)
            yield progress
