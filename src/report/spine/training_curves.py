"""What every picture of a training loss needs."""

import pandas as pd

from diffusion.choices import TARGETS


def loss_label(*targets: str) -> str:
    """The axis of a loss: what the network predicts, or each of several networks."""
    return f"loss (mean squared error of {' or '.join(TARGETS[target] for target in targets)})"


def loss_at_the_end(history: pd.DataFrame) -> float:
    """The mean of the last ten points, which are noisy."""
    return history["loss"].tail(10).mean()


def thinned(history: pd.DataFrame, points: int = 250) -> pd.DataFrame:
    """A long history as means over equal numbers of rows, so that a curve is drawn rather than a band."""
    size = max(1, len(history) // points)
    return history.groupby(history.index // size).agg({"step": "last", "loss": "mean"})
