"""The chapter on latent diffusion in DVC's own views."""

import pandas as pd

from report.latent import prompts
from report.reading import Reports
from report.views import Plot, Views, fid_or_kid


def figures(reports: Reports) -> dict[str, float | None]:
    """The quality of samples in latents, and whether prompts hold that were never seen in training."""
    latent, row = reports.record("sample_latent/metrics.json"), prompts.best(reports.table("sample_latent/prompts.csv"))
    return {
        **fid_or_kid(latent, "latent_"),
        "latent_accuracy": latent["accuracy"],
        "prompt_class": row["accuracy"],
        "prompt_held_out": row["held_out"],
    }


def plots(reports: Reports) -> dict[str, Plot]:
    """Whether unseen prompts hold, by guidance scale."""
    return {"prompts": unseen(reports.table("sample_latent/prompts.csv"))}


def unseen(rows: pd.DataFrame) -> pd.DataFrame:
    """A column of scales, then the share of images that show the class, the property that holds least, and the
    held-out one: names that every data set has, since dvc.yaml lists them."""
    weakest = rows[prompts.properties(rows)].min(axis=1)
    shares = {"scale": rows["scale"], "class": rows["accuracy"], "weakest": weakest, "held_out": rows["held_out"]}
    return pd.DataFrame(shares)[rows["group"] == "unseen"].sort_values("scale")


VIEWS = Views(figures, plots)
