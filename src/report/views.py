"""What DVC's own views show of a page: its main figures, and curves and pictures that dvc.yaml names as plots."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diffusion.files import whole_file, write_text
from report.reading import Reports

PLOTS = "plots"
DIGITS = 4  # significant ones of a figure: columns stay narrow

Plot = pd.DataFrame | np.ndarray  # a wide table, or a picture: uint8 (H, W) or (H, W, 3)


@dataclass(frozen=True)
class Views:
    """What a page's part of DVC's views is made of.

    `figures` are the page's headline, most important first: DVC leaves out what does not fit from the right. A figure
    that was not measured (None or NaN) or is infinite is left out. `plots` are by the names of their files without an
    ending.
    """

    figures: Callable[[Reports], Mapping[str, float | None]]
    plots: Callable[[Reports], Mapping[str, Plot]]


def write_views(views: Views, reports: Reports, metrics: str) -> None:
    """Write the figures to the file `metrics` of the folder of reports, and the plots into the page's own folder."""
    found = views.figures(reports).items()
    figures = {name: rounded(value) for name, value in found if value is not None and math.isfinite(value)}
    write_text(reports.folder / metrics, json.dumps(figures, indent=2, allow_nan=False) + "\n")
    folder = reports.folder / PLOTS / reports.page
    shutil.rmtree(folder, ignore_errors=True)
    for name, plot in views.plots(reports).items():
        if isinstance(plot, pd.DataFrame):
            write_text(folder / f"{name}.csv", plot.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        else:
            _save_picture(folder / f"{name}.png", plot)


def rounded(value: float) -> float:
    """DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def fid_or_kid(row: Mapping[str, float | None] | pd.Series, name: str) -> dict[str, float | None]:
    """The FID of a model as NAMEfid, or its KID as NAMEkid where there are too few samples for an FID."""
    measure = "kid" if pd.isna(row["fid"]) else "fid"
    return {f"{name}{measure}": row[measure]}


def _save_picture(path: Path, pixels: np.ndarray) -> None:
    with whole_file(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")
