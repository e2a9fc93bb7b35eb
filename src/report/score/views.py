"""The chapter on the score in DVC's own views."""

import pandas as pd

from report.reading import Reports
from report.score.known_scores import median_error
from report.views import Plot, Views


def figures(reports: Reports) -> dict[str, float | None]:
    """A figure of every section: the error of the score, bits per dimension, and the way to noise and back."""
    bits = reports.table("score/bits.csv")
    return {
        "bits_per_dim": bits[bits["method"] == "bound"]["bits"].iloc[0],
        "score_error": median_error(reports.table("score/mixture_error.csv")),
        "round_trip_error": reports.table("score/inversion.csv")["rms_error"].iloc[-1],
    }


def plots(reports: Reports) -> dict[str, Plot]:
    """The error of the learned score by noise level, over the size of the true one."""
    return {"score_error": score_error(reports.table("score/mixture_error.csv"))}


def score_error(errors: pd.DataFrame) -> pd.DataFrame:
    """A column of log-SNR, then one for every mixture."""
    shares = errors.assign(share=errors["error"] / errors["score"])
    return shares.pivot(index="log_snr", columns="mixture", values="share").reset_index()


VIEWS = Views(figures, plots)
