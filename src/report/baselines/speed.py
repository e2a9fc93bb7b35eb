"""The clock of sampling from the three models."""

from typing import Any

import pandas as pd

from report.baselines.models import fastest, labels, named
from report.content import Column, Section, Table, table
from report.reading import Reports
from report.wording import listing, number, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Images per second at every batch size tried."""
    clock = reports.table("compare/timing.csv")
    return Section("speed", "Speed", (speed_answer(clock),), (clock_table(clock),))


def speed_answer(clock: pd.DataFrame) -> str:
    """The fastest batch of every model and number of network evaluations."""
    rates = fastest(clock).sort_values("images_per_second")
    parts = [
        f"{number(rate)} by {named(model, calls)}"
        for model, calls, rate in rates[["model", "calls", "images_per_second"]].values
    ]
    return f"Images per second at the best batch size: {listing(parts)}."


def clock_table(clock: pd.DataFrame) -> Table:
    """A row per model, number of evaluations and batch size."""
    columns: list[Column] = [
        ("model", "Model", str),
        ("batch", "Batch size", whole),
        ("images_per_second", "Images/s", number),
        ("slowest", "Slowest", number),
        ("fastest", "Fastest", number),
        ("repeats", "Runs", whole),
    ]
    caption = (
        "The clock of sampling, median of the runs. Batch sizes were tried with the fewest network evaluations (NFE) "
        "of a model."
    )
    return table(clock.assign(model=labels(clock)), columns, caption)
