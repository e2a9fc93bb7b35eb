"""The verdict: every measure of the samples, recommended and at w = 1, beside what real images score."""

from typing import Any

import pandas as pd

from report.classes import class_sheet, confusion_blocks
from report.content import Block, Cell, Column, Folded, Section, Table, Text, table
from report.plots.confusion import confusion_matrix
from report.reading import Reports
from report.spine.headline import spread_of
from report.spine.recommended import recommended, setting_of
from report.spine.seeds import error_of_the_headline
from report.wording import differ, fixed, isolated, number, percent, share_error, share_of, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The samples, their measures, and the classes one by one."""
    verdict, judge = reports.record("evaluate/metrics.json"), reports.record("judge/metrics.json")
    best = recommended(reports)
    by_class = reports.table("evaluate/by_class.csv")
    floor_images = verdict["fid_floor"].get("n") or verdict["n"]
    basis = (
        f"All measures compare {whole(verdict['n'])} samples with the {verdict['reference']}, by features of images: "
        f"{verdict['extractor']}. The floor is what {whole(floor_images)} real training images score against "
        "the same test images; no model can be expected to score better."
    )
    names = {
        "recommended": f"The recommended setting: {setting_of(best)}",
        "unguided": f"At w = 1: {setting_of(verdict)}",
    }
    samples = [block for name, setting in names.items() for block in sheet(reports, name, setting, len(by_class))]
    return Section(
        "verdict",
        "The verdict",
        (
            *(f"In the recommended setting {sentence}" for sentence in coverage_answer(best)),
            *(f"Without guidance {sentence}" for sentence in coverage_answer(verdict)),
            *weakest_class(by_class),
            *error_of_the_headline(reports, params),
        ),
        (*samples, Text(basis), both_measures(best, verdict, judge), classes(by_class), *confusion(reports, verdict)),
    )


def sheet(reports: Reports, name: str, setting: str, num_classes: int) -> list[Block]:
    """The samples in one of the two settings, a row per class; both come from the same noise."""
    of_each = whole(reports.columns_of(f"evaluate/{name}.png", num_classes))
    caption = f"{setting}. Not selected: {of_each} per class, a row for each class asked for, the same noise in both."
    alt = f"Grid of generated images, a row per class ({name})"
    return class_sheet(reports, name, f"evaluate/{name}.png", caption, alt)


def coverage_answer(verdict: dict[str, Any]) -> list[str]:
    """Fidelity and variety beside those of real images; nothing where there are too few samples."""
    coverage, floor = verdict["coverage"], verdict["floor"].get("coverage")
    if coverage is None or floor is None:
        return []
    precision, real = verdict["precision"], verdict["floor"]["precision"]
    lost = ["fidelity", "variety"] if real - precision >= floor - coverage else ["variety", "fidelity"]
    return [
        f"{percent(precision)} of the samples look like real images (real images: {percent(real)}), and they cover "
        f"{percent(coverage)} of the real ones (real images: {percent(floor)}): the model loses more in {lost[0]} than "
        f"in {lost[1]}."
    ]


def weakest_class(by_class: pd.DataFrame) -> list[str]:
    """The class that is recognised least often, if it stands out: by two standard errors below all others."""
    rows = by_class.dropna(subset="accuracy").sort_values("accuracy", kind="stable")
    if len(rows) < 2:
        return []
    worst, others = rows.iloc[0], rows.iloc[1:]
    n = others["n"].sum()
    rest = (others["accuracy"] * others["n"]).sum() / n
    errors = share_error(worst["accuracy"], worst["n"]), share_error(rest, n)
    if not differ(worst["accuracy"], rest, *errors):
        return []
    return [
        f"The weakest class is {isolated(worst['class'])}: the judge recognises "
        f"{whole(worst['accuracy'] * worst['n'])} of its {whole(worst['n'])} samples, and {percent(rest)} of those of "
        "all other classes."
    ]


def both_measures(best: dict[str, Any], verdict: dict[str, Any], judge: dict[str, Any]) -> Table:
    """Every measure of the samples in the recommended setting, at w = 1, and of real images."""
    plain = measures(verdict, judge)
    rows = tuple(
        (name, of_best, *rest)
        for (name, *rest), (_, of_best, *_) in zip(plain.rows, measures(best, judge).rows, strict=True)
    )
    headings = ("Measure", "Recommended", "w = 1", *plain.headings[2:])
    caption = f"{plain.caption} Recommended: {setting_of(best)}; w = 1, without guidance: {setting_of(verdict)}."
    return Table(caption, headings, (False, *plain.numeric[1:2], *plain.numeric[1:]), rows)


def measures(verdict: dict[str, Any], judge: dict[str, Any]) -> Table:
    """Every measure of the samples of a verdict and of real images."""
    floor = verdict["floor"]
    rows = [
        (
            "FID",
            number(verdict["fid"]),
            spread_of(verdict["fid_floor"]),
            "distance between the two distributions of features; lower is better",
        ),
        (
            "KID",
            spread_of(verdict["kid"]),
            spread_of(verdict.get("kid_floor")),
            "the same without FID's bias at small n; lower is better",
        ),
        (
            "Class accuracy",
            share_of(verdict["accuracy"], verdict["n"]),
            share_of(judge["accuracy"], judge["n_test"]),
            "samples recognised as the class asked for; in brackets the Wilson interval of 95 %",
        ),
        ("Precision", fixed(verdict["precision"]), fixed(floor.get("precision")), "samples that look like real images"),
        ("Recall", fixed(verdict["recall"]), fixed(floor.get("recall")), "real images that the model could have made"),
        *(
            (name, fixed(verdict[key]), fixed(floor.get(key)), meaning)
            for name, key, meaning in (
                ("Clipped density", "clipped_density", "share of good samples, from how typical they are"),
                ("Coverage", "coverage", "real images with a sample near them"),
                ("Clipped coverage", "clipped_coverage", "share of good samples, from how many are near real images"),
            )
        ),
    ]
    cells = tuple(tuple(Cell(text) for text in row) for row in rows)
    caption = f"n = {whole(verdict['n'])} samples; floor: real training images against the same test images."
    return Table(caption, ("Measure", "Samples", "Real images", "Meaning"), (False, True, True, False), cells)


def classes(by_class: pd.DataFrame) -> Folded:
    """Class accuracy, class by class."""
    columns: list[Column] = [
        ("class", "Class asked for", str),
        ("n", "Samples", whole),
        ("accuracy", "Recognised", percent),
    ]
    return Folded("Accuracy by class", (table(by_class, columns, "Class accuracy of the samples at w = 1."),))


def confusion(reports: Reports, verdict: dict[str, Any]) -> list[Block]:
    """What the judge recognises, in real images and in samples."""
    names = reports.class_names()
    matrices = {
        "real test images": confusion_matrix(reports.table("judge/confusion.csv"), names),
        "samples": confusion_matrix(reports.table("evaluate/confusion.csv"), names),
    }
    caption = (
        f"Rows: the class of real images (left), or the class asked for (right, n = {whole(verdict['n'])} samples at "
        "w = 1); columns: the class that the judge recognises. What lies off the diagonal on the left are the judge's "
        "own mistakes."
    )
    alt = "Confusion matrices of real images and of samples"
    return confusion_blocks(reports, "confusion", matrices, caption, alt)
