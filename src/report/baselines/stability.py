"""Trainings with other seeds and learning rates: the committed results of `make study STUDY=stability`."""

from typing import Any

import pandas as pd

from report.baselines.entries import STEADY, stability
from report.baselines.models import NAMES
from report.content import Column, Section, Table, table
from report.reading import Reports
from report.studies import STABILITY, Findings, section_of
from report.wording import number, percent, whole

RUNS = "stability/runs.csv"


def section(reports: Reports, params: dict[str, Any]) -> Section | None:
    """Failed runs and the spread of the seeds; nothing where the study does not speak of the page's data."""
    return section_of(STABILITY, findings, reports, params)


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """Answer and table."""
    runs = reports.table(RUNS)
    return Findings((stability_answer(runs),), (stability_table(runs),))


def stability_answer(runs: pd.DataFrame) -> str:
    """How many runs of every model failed, and how accurate the others' samples were."""
    parts = [f"{name}: {stability(model, runs).text}" for model, name in NAMES.items()]
    return f"{'. '.join(parts)}."


def stability_table(runs: pd.DataFrame) -> Table:
    """A row per model, number of steps and learning rate."""
    groups = runs.groupby(["model", "steps", "learning_rate"], sort=False)
    shown = groups.agg(
        runs=("seed", "size"),
        diverged=("diverged_at", "count"),
        accuracy=("accuracy", "mean"),
        accuracy_std=("accuracy", "std"),
        fid=("fid", "mean"),
        fid_std=("fid", "std"),
    ).reset_index()
    columns: list[Column] = [
        ("model", "Model", NAMES.__getitem__),
        ("learning_rate", "Learning rate", number),
        ("steps", "Steps", whole),
        ("runs", "Seeds", whole),
        ("diverged", "Diverged", whole),
        ("accuracy", "Class accuracy", percent),
        ("accuracy_std", "± seeds", percent),
        ("fid", "FID", number),
        ("fid_std", "± seeds", lambda value: number(value, 2)),
    ]
    caption = (
        "Trainings with other seeds and with a larger learning rate (`make study STUDY=stability`); mean and standard "
        f"deviation of the seeds, n = {whole(runs['n'].iloc[0])} samples each. A run has failed if it diverges or its "
        f"class accuracy is under {percent(STEADY)} of the best run's."
    )
    return table(shown, columns, caption)
