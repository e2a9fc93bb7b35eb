"""The data card."""

from typing import Any

from report.content import Column, Section, Text, table
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import number, whole


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
    labelled_sheet(reports.figure("data.png"), reports.path("data/examples.png"), reports.row_names())
    examples = reports.drawn(
        "data.png", "Real training images, a row per class.", "Grid of real images, a row per class"
    )
    columns: list[Column] = [("class", "Class", str), ("train", "Train", whole), ("test", "Test", whole)]
    return Section("data", "The data", (answer,), (examples, text, table(counts, columns, "Images per class.")))
