"""Samplers that use the denoiser as a score: the reverse SDE, the corrector, the probability-flow ODE."""

from typing import Any

import pandas as pd

from report.content import Column, Picture, Section, Table, table, with_values
from report.looks import sampler_label
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, listing, number, percent, whole

KINDS = (("euler_maruyama",), ("predictor_corrector",), ("heun", "adaptive"))  # the SDE, the corrector, the ODE


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The rows of stage `score` beside DDPM's and DDIM's of stage `evaluate`."""
    made, known = reports.table("score/samplers.csv"), reports.table("evaluate/samplers.csv")
    blocks = (samplers_table(made, known), samplers_picture(reports, made))
    return Section("samplers", "Samplers of the SDE and the ODE", (samplers_answer(made),), blocks)


def samplers_answer(rows: pd.DataFrame) -> str:
    """The best of the SDE, of the corrector and of the ODE on all images."""
    measure, best = best_of_kinds(rows)
    parts = [
        f"{named(row)} {number(row[measure])} with {whole(row['calls'])} network evaluations per image "
        f"({percent(row['accuracy'])} recognised as their class)"
        for row in best
    ]
    return f"The same model sampled by its score, {measure.upper()} on n = {whole(best[0]['n'])}: {listing(parts)}."


def best_of_kinds(rows: pd.DataFrame) -> tuple[str, list[pd.Series]]:
    """`fid`, or `kid` where there are too few samples for one, and the best row of each kind by it."""
    rows = rows[rows["subset"] == "all"]
    measure = "kid" if rows["fid"].isna().any() else "fid"
    kinds = (rows[rows["sampler"].isin(names)] for names in KINDS)
    return measure, [of_kind.sort_values(measure, kind="stable").iloc[0] for of_kind in kinds]


def named(row: pd.Series) -> str:
    """A sampler of this section in text."""
    return "the adaptive solver" if row["sampler"] == "adaptive" else sampler_label(row["sampler"], row["eta"])


def samplers_table(made: pd.DataFrame, known: pd.DataFrame) -> Table:
    """Quality on all images and on the first, of which every sampler has as many."""
    known = known[known["sampler"].isin(("ddpm", "ddim"))].assign(calls=known["steps"])
    rows = pd.concat([made, known])
    every, first = (rows[rows["subset"] == subset] for subset in ("all", "first"))
    key = ["sampler", "steps", "eta", "times"]
    shown = every.merge(first[[*key, "n", "kid", "kid_std", "accuracy"]], on=key, suffixes=("", "_first"))
    shown = shown.assign(name=[named(row) for _, row in shown.iterrows()]).sort_values("calls", kind="stable")
    columns: list[Column] = [
        ("name", "Sampler", str),
        ("calls", "NFE", whole),
        ("kid_first", "KID", number),
        ("kid_std_first", "± error", lambda value: number(value, 2)),
        ("accuracy_first", "Class accuracy", percent),
        ("n", "n, all", whole),
        ("fid", "FID, all", number),
        ("kid", "KID, all", number),
        ("accuracy", "Accuracy, all", percent),
        ("recall", "Recall, all", fixed),
        ("coverage", "Coverage, all", fixed),
    ]
    caption = (
        "Samplers of the score beside DDPM and DDIM. NFE: network evaluations per image. KID and class accuracy: the "
        f"first {whole(first['n'].iloc[0])} images of each, with the same start noise and classes; “all” are all "
        "images drawn."
    )
    return table(shown, with_values(shown, columns), caption)


def samplers_picture(reports: Reports, made: pd.DataFrame) -> Picture:
    """A row of images per sampler."""
    names = [f"{named(row)}, {whole(row['calls'])}" for _, row in made[made["subset"] == "all"].iterrows()]
    labelled_sheet(reports.figure("samplers.png"), reports.path("score/samplers.png"), names)
    caption = "The same 16 start noises and classes by each of them; the number is network evaluations per image."
    return reports.drawn("samplers.png", caption, "Images of the samplers of the score, a row each")
