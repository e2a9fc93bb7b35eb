"""What every picture of a training loss needs."""

import pandas as pd

from diffusion.choices import TARGETS


def loss_label(target: str) -> str:
    """The axis of a loss: what the network predicts."""
    return f"loss (mean squared error of {TARGETS[target]})"


def loss_at_the_end(history: pd.DataFrame) -> float:
    """The mean of the last ten points, which are noisy."""
    return history["loss"].tail(10).mean()


def thinned(history: pd.DataFrame, points: int = 250) -> pd.DataFrame:
    """A long history as means over equal numbers of rows, so that a curve is drawn rather than a band."""
    size = max(1, len(history) // points)
    return history.groupby(history.index // size).agg({"step": "last", "loss": "mean"})
