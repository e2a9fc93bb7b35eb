"""Pictures of trainings."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from report.plots.style import COLOURS, Look, line, panel, save, short_number, styled


@styled
def training_loss(path: Path, history: pd.DataFrame, label: str) -> None:
    """Training loss against the step on a logarithmic axis, from `step, loss`."""
    figure, axes = panel(4.8, 3.5)
    axes.plot(history["step"], history["loss"], color=COLOURS[0], linewidth=1.4)
    _loss_by_step(axes, label)
    save(figure, path)


@styled
def training_losses(path: Path, histories: Mapping[str, pd.DataFrame], looks: Mapping[str, Look], label: str) -> None:
    """The same for several trainings (tables with `step, loss`, and looks, by name) on shared axes."""
    figure, axes = panel(7.6, 4.2)
    for index, (name, history) in enumerate(histories.items()):
        axes.plot(history["step"], history["loss"], label=name, **line(index, looks[name]))
    _loss_by_step(axes, label)
    axes.legend()
    save(figure, path)


def _loss_by_step(axes: Axes, label: str) -> None:
    axes.set(xlabel="training step", ylabel=label, yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
