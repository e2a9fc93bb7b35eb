"""Whether a second judge, of another architecture, ranks models or samplers as the first does."""

from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from report.content import Column, Table, table, with_values
from report.reading import Reports
from report.wording import differ, fixed, listing, number, percent, share_of, spread, whole

ARCHITECTURE = "a plain network with neither norms nor skip connections"
SHOWN = 3  # pairs of opposite ranking that a sentence names
KEY = "label"


class Rankings(NamedTuple):
    """Pairs of rows: how many there are, those that both judges can tell apart, and those of them that each ranks the
    other way around, as (better by the first judge, better by the second)."""

    pairs: int
    clear: int
    opposite: list[tuple[str, str]]


def rankings(rows: pd.DataFrame) -> Rankings:
    """Every pair of rows by KID, told apart by two standard errors; rows have `label`, `kid`, `kid_std` and the same of
    the second judge as `..._second`."""
    clear, opposite = 0, []
    for a, b in combinations(rows.to_dict("records"), 2):
        judged = [differ(a[f"kid{of}"], b[f"kid{of}"], a[f"kid_std{of}"], b[f"kid_std{of}"]) for of in ("", "_second")]
        if all(judged):
            clear += 1
            first, second = ((a, b) if a[f"kid{of}"] < b[f"kid{of}"] else (b, a) for of in ("", "_second"))
            if first[0][KEY] != second[0][KEY]:
                opposite.append((first[0][KEY], second[0][KEY]))
    return Rankings(len(rows) * (len(rows) - 1) // 2, clear, opposite)


def second_answer(reports: Reports, rows: pd.DataFrame, what: str) -> str:
    """How far the second judge confirms the ranking of `what` (samplers, models), also where it does not."""
    judge = reports.record("judge/metrics.json")
    found = rankings(rows)
    opening = (
        f"A second judge, {ARCHITECTURE}, recognises {share_of(judge['second']['accuracy'], judge['n_test'])} of "
        f"the real test images (the first {percent(judge['accuracy'])}). Of {whole(found.pairs)} pairs of {what} both "
        f"judges tell {whole(found.clear)} apart by KID and two standard errors"
    )
    if not found.clear:
        return f"{opening}: it neither confirms nor contradicts the ranking."
    if not found.opposite:
        return f"{opening}, and rank {'it' if found.clear == 1 else 'all of them'} alike. {best_of_each(rows)}"
    named = [f"{first} before {second}" for first, second in found.opposite[:SHOWN]]
    more = f" and {whole(len(found.opposite) - SHOWN)} more" if len(found.opposite) > SHOWN else ""
    return (
        f"{opening}. They rank {whole(len(found.opposite))} of these the other way around, so that order rests on the "
        f"judge: the first has {listing(named)}{more}. {best_of_each(rows)}"
    )


def best_of_each(rows: pd.DataFrame) -> str:
    """Which row each judge puts first by FID, or by KID where there is none."""
    measure = "fid" if rows[["fid", "fid_second"]].notna().any().all() else "kid"
    first, second = (rows[KEY].iloc[rows[f"{measure}{of}"].argmin()] for of in ("", "_second"))
    if first == second:
        return f"Both have the lowest {measure.upper()} for {first}."
    return f"The lowest {measure.upper()} has {first} by the first judge, {second} by the second."


def second_table(rows: pd.DataFrame, floor: dict[str, Any], heading: str) -> Table:
    """The measures of both judges side by side; `floor` is that of the second."""
    n = whole(rows["n"].max())
    columns: list[Column] = [
        (KEY, heading, str),
        ("n", "n", whole),
        ("fid", "FID", number),
        ("fid_second", "FID, second judge", number),
        ("kid", "KID", number),
        ("kid_second", "KID, second judge", number),
        ("accuracy", "Class accuracy", percent),
        ("accuracy_second", "Class accuracy, second judge", percent),
        ("recall", "Recall", fixed),
        ("recall_second", "Recall, second judge", fixed),
    ]
    real = [f"{name.upper()} {spread(floor['mean'][name], floor['std'][name])}" for name in ("fid", "kid")]
    caption = (
        f"The same samples by both judges, at most {n} a row. Each compares features of its own, so only orders "
        f"compare. By the second judge {whole(floor['n'])} real images score {listing(real)}."
    )
    return table(rows, with_values(rows, columns), caption)
