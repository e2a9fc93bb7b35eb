"""The verdict on the model, and what it rests on: data, judge, memorisation."""

from typing import Any

import numpy as np
import pandas as pd

from report.content import Block, Cell, Folded, Section, Table, Text, Tile, table
from report.plots.confusion import confusions
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import duration, fixed, number, percent, share_error, spread, whole

EXPECTED_NEAR = 0.01


def headline(reports: Reports) -> str:
    """The verdict in one sentence: FID with its n and floor, and how many samples show what was asked for."""
    verdict = reports.record("evaluate/metrics.json")
    asked = f"The judge reads {percent(verdict['accuracy'])} of them as the class that was asked for."
    made = f"{whole(verdict['n'])} images made in {whole(verdict['calls'])} steps"
    if verdict["fid"] is None:
        return f"{made} score a KID of {_pair(verdict['kid'])} (FID needs 500 images or more). {asked}"
    floor = verdict["fid_floor"]
    return f"{made} score an FID of {number(verdict['fid'])}, {_against_floor(verdict['fid'], floor)}. {asked}"


def tiles(reports: Reports) -> list[Tile]:
    """The headline figures, each beside what real images score."""
    verdict, judge = reports.record("evaluate/metrics.json"), reports.record("judge/metrics.json")
    train, floor = reports.record("train/timing.json"), verdict["floor"]
    first = (
        Tile("FID", number(verdict["fid"]), f"real images {_pair(verdict['fid_floor'])}")
        if verdict["fid"] is not None
        else Tile("KID", number(verdict["kid"]["mean"]), f"real images {_pair(verdict['kid_floor'])}")
    )
    return [
        first,
        Tile("Class accuracy", percent(verdict["accuracy"]), f"real images {percent(judge['accuracy'])}"),
        Tile("Coverage", fixed(verdict["coverage"]), f"real images {fixed(floor.get('coverage'))}"),
        Tile("Training", duration(train["seconds"]), f"{train['parameters'] / 1e6:.1f} million weights"),
    ]


def verdict_section(reports: Reports) -> Section:
    """Every measure of the verdict beside its floor, the samples, and the classes one by one."""
    verdict, judge = reports.record("evaluate/metrics.json"), reports.record("judge/metrics.json")
    by_class = reports.table("evaluate/by_class.csv")
    worst = by_class.loc[by_class["accuracy"].idxmin()]
    answer = (
        *_coverage_sentence(verdict),
        f"The class that fails most often is {worst['class']}: {percent(worst['accuracy'])} of {whole(worst['n'])} "
        "are read as it.",
    )
    floor_images = verdict["fid_floor"].get("n") or verdict["n"]
    basis = (
        f"All measures compare {whole(verdict['n'])} samples with the {verdict['reference']}, in the features of the "
        f"judge ({verdict['extractor']}). The floor is what {whole(floor_images)} real training images score against "
        "the same test images; no model can be expected to do better."
    )
    labelled_sheet(reports.figure("samples.png"), reports.folder / "evaluate/samples.png", reports.row_names())
    samples = reports.drawn(
        "samples.png",
        "Samples, not picked: ten per class, a row for each class asked for.",
        "Grid of generated images, a row per class",
    )
    return Section(
        "verdict",
        "The verdict",
        answer,
        (samples, Text(basis), _verdict_table(verdict, judge), _by_class(by_class), *_confusion(reports, verdict)),
    )


def memorisation_section(reports: Reports) -> Section:
    """Whether samples are copies of training images."""
    verdict = reports.record("evaluate/metrics.json")
    memory = verdict["memorisation"]
    share, n = memory["share_below_1_percent"], verdict["n"]
    tolerance = 2 * share_error(EXPECTED_NEAR, n)
    plain = (
        f"{percent(share)} of {whole(n)} samples lie closer to a training image than 99 % of real test images "
        f"do (1 % is expected)"
    )
    if share > EXPECTED_NEAR + tolerance:
        answer = (
            f"{plain}: {number(share / EXPECTED_NEAR, 2)} times too many, so some samples are near copies of "
            f"training images."
        )
    else:
        answer = f"{plain}: no sign that the model copies its training images."
    ratio = Text(
        f"The median sample is {number(memory['ratio_median'])} times as far from its nearest training image as a "
        f"test image is from its own. " + _distance_reading(memory["ratio_median"])
    )
    labelled_sheet(
        reports.figure("nearest.png"),
        reports.folder / "evaluate/nearest.png",
        ["sample", "nearest in training", "nearest in test"],
    )
    nearest = reports.drawn(
        "nearest.png",
        "Samples above their nearest training and test images (distance in pixels). A copy would make the first "
        "two rows equal.",
        "Samples with their nearest real images",
    )
    return Section("memorisation", "Does it copy?", (answer,), (nearest, ratio))


def _coverage_sentence(verdict: dict[str, Any]) -> list[str]:
    coverage, floor = verdict["coverage"], verdict["floor"].get("coverage")
    if coverage is None or floor is None:
        return []
    precision, real = verdict["precision"], verdict["floor"]["precision"]
    weak = "in variety" if floor - coverage > real - precision else "in looks"
    return [
        f"{percent(precision)} of the samples look like real images (of real images {percent(real)} do), and they "
        f"cover {percent(coverage)} of the real ones (real images: {percent(floor)}): the model is further from the "
        f"data {weak}."
    ]


def _distance_reading(ratio: float) -> str:
    if ratio < 0.8:
        return "Well under 1: samples hug the training set."
    if ratio > 1.25:
        return "Well over 1: samples lie off the data, which is a lack of quality rather than of memory."
    return "About 1, as for new real images."


def _against_floor(fid: float, floor: dict[str, Any]) -> str:
    shown = f"{_pair(floor)} for real images"
    if fid <= floor["mean"] + 2 * floor["std"]:
        return f"no further from the test images than other real images are ({shown})"
    return f"{number(fid / floor['mean'], 2)} times the floor of {shown}"


def _pair(measure: dict[str, Any] | None) -> str:
    return spread(measure["mean"], measure["std"]) if measure else spread(None, None)


def _verdict_table(verdict: dict[str, Any], judge: dict[str, Any]) -> Table:
    floor = verdict["floor"]
    rows = [
        (
            "FID",
            number(verdict["fid"]),
            _pair(verdict["fid_floor"]),
            "distance of the two clouds of features; lower is better",
        ),
        (
            "KID",
            _pair(verdict["kid"]),
            _pair(verdict.get("kid_floor")),
            "the same without FID's bias at small n; lower is better",
        ),
        (
            "Class accuracy",
            percent(verdict["accuracy"]),
            percent(judge["accuracy"]),
            "samples read as the class asked for",
        ),
        ("Precision", fixed(verdict["precision"]), fixed(floor.get("precision")), "samples that look like real images"),
        ("Recall", fixed(verdict["recall"]), fixed(floor.get("recall")), "real images that the model could have made"),
        ("Density", fixed(verdict["density"]), fixed(floor.get("density")), "precision, weighted by how typical"),
        ("Coverage", fixed(verdict["coverage"]), fixed(floor.get("coverage")), "real images with a sample near them"),
    ]
    cells = tuple(tuple(Cell(text) for text in row) for row in rows)
    caption = f"n = {whole(verdict['n'])} samples; floor: real training images against the same test images."
    return Table(caption, ("Measure", "Samples", "Real images", "What it says"), (False, True, True, False), cells)


def _by_class(by_class: pd.DataFrame) -> Folded:
    columns = [("class", "Class asked for", str), ("n", "Samples", whole), ("accuracy", "Read as it", percent)]
    return Folded(
        "Accuracy class by class", (table(by_class, columns, "Class accuracy of the samples of the verdict."),)
    )


def _confusion(reports: Reports, verdict: dict[str, Any]) -> list[Block]:
    names = reports.class_names()
    matrices = {
        "real test images": confusion_matrix(reports.table("judge/confusion.csv"), names),
        "samples": confusion_matrix(reports.table("evaluate/confusion.csv"), names),
    }
    confusions(reports.figure("confusion.png"), matrices, names)
    caption = (
        f"What the judge reads where: the class (real images, left) or the class asked for (n = {whole(verdict['n'])} "
        "samples, right) is the row, the class that it reads the column. Off the diagonal on the left are the judge's "
        "own mistakes."
    )
    return [reports.drawn("confusion.png", caption, "Confusion matrices of real images and of samples")]


def confusion_matrix(counts: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Counts (classes, classes) from `actual, predicted, count`; pairs that do not occur are 0."""
    wide = counts.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    return wide.reindex(index=names, columns=names, fill_value=0).to_numpy()
