"""The data card."""

from typing import Any

import pandas as pd

from report.classes import MANY, class_sheet, counted, with_legend
from report.content import Block, Column, Folded, Section, Text, table
from report.plots.shares import class_shares
from report.reading import Reports
from report.wording import isolated, number, whole

UNEVEN = 1.25  # times the images of the smallest class


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Where the images come from, how many there are, and how they look."""
    card, counts = reports.record("data/card.json"), reports.table("data/counts.csv")
    splits = card["splits"]
    channels, height, width = card["image_shape"]
    answer = (
        f"{card['dataset']}: {whole(splits['train']['n'])} images to train on and {whole(splits['test']['n'])} held "
        f"back, in {len(counts)} classes, {width} × {height} pixels, {'grey' if channels == 1 else 'colour'}."
    )
    pixels = "; ".join(
        f"{name} split: mean {number(split['mean'])}, standard deviation {number(split['std'])}"
        for name, split in splits.items()
    )
    origin = [f"Source: {card['source']}."] + ([f"Licence: {card['license']}."] if card.get("license") else [])
    text = Text(
        f"{' '.join(origin)} Pixels are scaled to [−1, 1] ({pixels}). SHA-256 of the source: `{card['checksum']}`."
    )
    caption, alt = "Real training images, a row per class.", "Grid of real images, a row per class"
    examples = class_sheet(reports, "data", "data/examples.png", caption, alt)
    blocks = (*examples, text, *shares_blocks(reports, counts), *counts_blocks(counts))
    return Section("data", "The data", (answer, *uneven_answer(counts), *duplicates_answer(card)), blocks)


def duplicates_answer(card: dict[str, Any]) -> list[str]:
    """The test images that are training images too, if any."""
    number, test = card.get("duplicates", 0), card["splits"]["test"]["n"]
    if not number:
        return []
    return [
        f"{whole(number)} of the {whole(test)} test images {'are' if number > 1 else 'is'} among the training images "
        "too, pixel for pixel: a model that copies looks better for it."
    ]


def uneven_answer(counts: pd.DataFrame) -> list[str]:
    """The smallest and the largest class where they differ much."""
    if not are_uneven(counts):
        return []
    rows = counts.sort_values("train", kind="stable")
    least, most = rows.iloc[0], rows.iloc[-1]
    return [
        f"The classes are uneven: {isolated(most['class'])} has {whole(most['train'])} images of training, "
        f"{isolated(least['class'])} {whole(least['train'])}."
    ]


def are_uneven(counts: pd.DataFrame) -> bool:
    """Whether the largest class has more than UNEVEN times the images of the smallest one."""
    return bool(counts["train"].max() > UNEVEN * counts["train"].min())


def shares_blocks(reports: Reports, counts: pd.DataFrame) -> list[Block]:
    """The classes by their shares, where they differ."""
    if not are_uneven(counts):
        return []
    legend = class_shares(reports.figure("classes.png"), counts)
    caption = with_legend("Images of training by class, largest first.", legend)
    return [reports.drawn("classes.png", caption, "Bars of the number of images of every class")]


def counts_blocks(counts: pd.DataFrame) -> list[Block]:
    """The number of images of every class; of many classes behind a fold, with the names beside it."""
    columns: list[Column] = [("class", "Class", str), ("train", "Train", whole), ("test", "Test", whole)]
    images = table(counts, columns, "Images per class.")
    if len(counts) <= MANY:
        return [images]
    names = Text(f"The classes with their images of training: {counted(counts)}.")
    return [names, Folded(f"Images of all {whole(len(counts))} classes", (images,))]
