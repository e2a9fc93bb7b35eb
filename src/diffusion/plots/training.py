"""Pictures of a training."""

from pathlib import Path

import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from diffusion.plots.style import COLOURS, panel, save, short_number, styled


@styled
def training_loss(path: Path, history: pd.DataFrame, label: str) -> None:
    """Training loss against the step on a logarithmic axis, from `step, loss`."""
    figure, axes = panel(4.8, 3.5)
    axes.plot(history["step"], history["loss"], color=COLOURS[0], linewidth=1.4)
    axes.set(xlabel="training step", ylabel=label, yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    save(figure, path)
