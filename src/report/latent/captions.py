"""The captions: what they say of an image, and how it is measured."""

from typing import Any

from report.content import Column, Folded, Picture, Section, table
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, listing, whole

PROPERTIES = {  # and the names of their grades
    "thickness": ["thin", "medium", "thick"],
    "slant": ["left", "upright", "right"],
    "width": ["narrow", "regular", "wide"],
}


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """How captions are made, images sorted by what they say, and examples."""
    answer = captions_answer(reports.record("captions/card.json"))
    return Section("captions", "The captions", (answer,), (strokes(reports), examples(reports)))


def captions_answer(card: dict[str, Any]) -> str:
    """What a caption says, and which combinations none of the training has."""
    held_out = listing([f"{row['value']} {row['class']}" for row in card["held_out"]])
    return (
        "A caption gives the class and three measures of the stroke, each by the tercile of its class: thickness "
        "(twice the ink's area over its outline), slant (pixels to the right per pixel upwards) and width after the "
        f"slant is removed. There are {whole(card['captions_per_image'])} captions an image, in several wordings with "
        f"words left out, from {whole(len(card['vocabulary']))} words. Held out of the denoiser's training (not of the "
        f"autoencoder's): {held_out}, {whole(card['n_train'] - card['n_captioned'])} of {whole(card['n_train'])} "
        "images."
    )


def strokes(reports: Reports) -> Picture:
    """Images sorted by each measure."""
    labelled_sheet(reports.figure("strokes.png"), reports.path("captions/examples.png"), list(PROPERTIES))
    caption = "Training images from the lowest (left) to the highest value of each measure."
    return reports.drawn("strokes.png", caption, "Images sorted by thickness, slant and width")


def examples(reports: Reports) -> Folded:
    """Captions of images, and the bounds of the terciles."""
    captions, terciles = reports.table("captions/captions.csv"), reports.table("captions/terciles.csv")
    bounds: list[Column] = [
        ("class", "Class", str),
        ("property", "Measure", str),
        ("lower", "Lower", fixed),
        ("upper", "Upper", fixed),
    ]
    return Folded(
        "Captions and terciles",
        (
            table(captions, [("class", "Class", str), ("caption", "Caption", str)], "A caption of the first images."),
            table(terciles, bounds, "The bounds between the thirds of every class, from the training split."),
        ),
    )
