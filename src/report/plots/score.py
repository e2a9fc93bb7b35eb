"""Pictures of scores and densities: fields and ways in the plane, errors and bits against the noise level."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from report.plots.style import COLOURS, FLOOR_COLOUR, MARKERS, by_name, line, panel, panels, powers_of_ten, save, styled

PLANE = 2.8  # half a side of the pictures of trajectories
PATHS = 3  # that are drawn: more of an SDE cannot be told apart
FAINTEST, THINNEST, WIDEST = 0.1, 0.5, 1.8  # opacity and widths of a path, from noise to sample
TRUE, LEARNED = FLOOR_COLOUR, COLOURS[1]


@styled
def score_fields(path: Path, field: pd.DataFrame) -> None:
    """True (grey) and learned (orange) scores as arrows, a row per `mixture` and a column per noise level.

    From `mixture, log_snr, t, x, y, true_x, true_y, learned_x, learned_y`; the longest arrow of a panel is a step long.
    """
    mixtures, levels = list(dict.fromkeys(field["mixture"])), list(dict.fromkeys(field["log_snr"]))
    figure, grid = panels(3.1 * len(levels), 3.2 * len(mixtures) + 0.3, len(levels), len(mixtures))
    for (row, column), axes in np.ndenumerate(grid):
        rows = field[(field["mixture"] == mixtures[row]) & (field["log_snr"] == levels[column])]
        at, step = (rows["x"], rows["y"]), np.diff(np.unique(rows["x"])).min()
        longest = np.hypot(rows["true_x"], rows["true_y"]).max()
        for name, colour, width in (("true", TRUE, 0.012), ("learned", LEARNED, 0.005)):
            arrows: dict[str, Any] = {"scale_units": "xy", "scale": longest / (1.6 * step), "width": width}
            axes.quiver(*at, rows[f"{name}_x"], rows[f"{name}_y"], label=name, angles="xy", color=colour, **arrows)
        _bare_plane(axes)
        if row == 0:
            axes.set_title(f"log-SNR {levels[column]:g}, t = {rows['t'].iloc[0]:,.0f}", fontsize=10)
        if column == 0:
            axes.set_ylabel(mixtures[row])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save(figure, path)


@styled
def trajectories(path: Path, paths: pd.DataFrame, points: pd.DataFrame, names: dict[str, str]) -> None:
    """Paths from noise to samples, a row per mixture and a column per sampler (`names`: as in the tables, as shown).

    Grey: points of the mixture. Each path begins at its dot, soon after the start noise, and ends at its triangle. It
    is the fainter the more noise there is, so that one sees where it settles.
    """
    mixtures = list(dict.fromkeys(paths["mixture"]))
    figure, grid = panels(3.7 * len(names), 3.7 * len(mixtures), len(names), len(mixtures))
    for (row, column), axes in np.ndenumerate(grid):
        sampler = list(names)[column]
        real = points[(points["mixture"] == mixtures[row]) & (points["sampler"] == "mixture")]
        axes.plot(real["x"], real["y"], ".", color="#b9c0c4", markersize=3)
        of_sampler = paths[(paths["mixture"] == mixtures[row]) & (paths["sampler"] == sampler)]
        for number, way in of_sampler[of_sampler["path"] < PATHS].groupby("path"):
            _fading_path(axes, way, COLOURS[number])
        _bare_plane(axes)
        axes.set(xlim=(-PLANE, PLANE), ylim=(-PLANE, PLANE))
        if row == 0:
            axes.set_title(names[sampler], fontsize=10)
        if column == 0:
            axes.set_ylabel(mixtures[row])
    save(figure, path)


@styled
def by_noise_level(path: Path, table: pd.DataFrame, series: str, label: str, log_scale: bool = False) -> None:
    """`value` with its `error` (0 where there is none) against `log_snr`, a line for each name in column `series`."""
    figure, axes = panel(7.6, 4.2)
    for index, (name, rows) in enumerate(by_name(table, series)):
        marks: dict[str, Any] = {"marker": MARKERS[index], "markersize": 5, "capsize": 2}
        axes.errorbar(rows["log_snr"], rows["value"], yerr=rows["error"], label=name, **marks, **line(index))
    axes.set(xlabel="log-SNR (natural log; noise grows to the right)", ylabel=label)
    axes.invert_xaxis()
    if log_scale:
        axes.set_yscale("log")
        powers_of_ten(axes.yaxis)
    axes.legend()
    save(figure, path)


def _fading_path(axes: Axes, points: pd.DataFrame, colour: str) -> None:
    at, t = points[["x", "y"]].to_numpy(), points["t"].to_numpy()
    clear = (1 - t[1:] / t.max()) ** 2  # 0 at the start, 1 at t = 0
    opacity, width = FAINTEST + (1 - FAINTEST) * clear, THINNEST + (WIDEST - THINNEST) * clear
    steps = np.stack([at[:-1], at[1:]], axis=1)  # (steps, 2 ends, 2 coordinates)
    axes.add_collection(LineCollection(list(steps), colors=colour, alpha=opacity, linewidths=width))
    axes.plot(*at[0], "o", color=colour, markersize=4)
    axes.plot(*at[-1], "^", color=colour, markersize=6)


def _bare_plane(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.grid(False)
