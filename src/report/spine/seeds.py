"""How far the headline depends on chance in training: the results of `make sweep SWEEP=studies/seeds.yaml`."""

from typing import Any

import pandas as pd

from report.reading import Reports
from report.studies import SEEDS, Findings, other_params
from report.wording import NB, spread, whole


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """The spread of FID and class accuracy over training seeds."""
    return Findings((spread_over_seeds(reports),), ())


def error_of_the_headline(reports: Reports, params: dict[str, Any]) -> list[str]:
    """The same, as the error of the page's own figures: nothing unless the study has its data and its params."""
    if not SEEDS.speaks(reports) or other_params(SEEDS.about(reports)["params"], params):
        return []
    return [f"{spread_over_seeds(reports)} That spread is the error of the figures here, which one training gave."]


def spread_over_seeds(reports: Reports) -> str:
    """Mean and standard deviation of FID (or KID) and class accuracy, in a sentence."""
    runs = pd.DataFrame(list(reports.record("seeds/metrics.json").values()))
    fid = runs["fid"].astype(float)
    few = fid.isna().any()  # samples for an FID
    distance = pd.Series([kid["mean"] for kid in runs["kid"]]) if few else fid
    accuracy = 100 * runs["accuracy"]
    return (
        f"{whole(len(runs))} trainings that differ in their seed alone score {'a KID' if few else 'an FID'} of "
        f"{spread(distance.mean(), distance.std())} and a class accuracy of "
        f"{spread(accuracy.mean(), accuracy.std())}{NB}% (mean and standard deviation, n = {whole(runs['n'].iloc[0])} "
        "samples each)."
    )
