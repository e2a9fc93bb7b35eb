"""Pictures of noise schedules: their curves, and until when an image is recognised."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.ticker import PercentFormatter

from diffusion.choices import SCHEDULES
from report.looks import schedule_look
from report.plots.style import COLOURS, FLOOR_COLOUR, by_name, line, panel, panels, powers_of_ten, save, styled


@styled
def schedule_curves(
    path: Path, tables: Mapping[str, pd.DataFrame], column: str, label: str, log_scale: bool = False
) -> None:
    """One column of several schedules (tables with `t` and that column, by name) against t on shared axes."""
    figure, axes = panel(7.6, 4.2)
    for index, (name, table) in enumerate(tables.items()):
        axes.plot(table["t"], table[column], label=SCHEDULES[name].label, **line(index, schedule_look(name)))
    axes.set(xlabel="t (0 = clean image)", ylabel=label)
    if log_scale:
        axes.set_yscale("log")
        powers_of_ten(axes.yaxis)
    axes.legend()
    save(figure, path)


@styled
def recognisability_curves(path: Path, table: pd.DataFrame, chance: float) -> None:
    """Accuracy of the judge of noised images from `schedule, t, log_snr, accuracy`.

    Against t every schedule has its curve; against log-SNR there is only one, as x_t depends on alpha_bar alone.
    """
    figure, ((by_time, by_noise),) = panels(10.2, 4.1, columns=2, sharey=True)
    for index, (name, rows) in enumerate(by_name(table, "schedule")):
        look = schedule_look(name)
        marks: dict[str, Any] = {"marker": look.marker, "markersize": 4, "markevery": max(1, len(rows) // 9)}
        by_time.plot(rows["t"], rows["accuracy"], label=SCHEDULES[name].label, **line(index, look), **marks)
    curve = table.drop_duplicates("log_snr").sort_values("log_snr")
    by_noise.plot(curve["log_snr"], curve["accuracy"], color=COLOURS[-1], marker="o", markersize=4)
    for axes in (by_time, by_noise):
        axes.axhline(0.5, color=FLOOR_COLOUR, linewidth=1)
        axes.axhline(chance, color=FLOOR_COLOUR, linewidth=1, linestyle=":")
    by_time.set(xlabel="t", ylabel="accuracy on noised test images", ylim=(0, 1.02))
    by_noise.set(xlabel="log-SNR (natural log; noise grows to the right)")
    by_noise.invert_xaxis()
    by_noise.text(0.01, 0.515, "half are recognised", transform=by_noise.get_yaxis_transform(), color=FLOOR_COLOUR)
    by_noise.text(0.01, chance + 0.015, "chance", transform=by_noise.get_yaxis_transform(), color=FLOOR_COLOUR)
    by_time.yaxis.set_major_formatter(PercentFormatter(1))
    by_time.legend(loc="lower left", bbox_to_anchor=(0, chance + 0.02))
    save(figure, path)
