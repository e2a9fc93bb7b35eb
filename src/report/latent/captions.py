"""The captions: what they say of an image, and how it is measured."""

from typing import Any

from report.content import Column, Folded, Picture, Section, table
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, listing, whole

MEASURES = {  # of every property that captions may state
    "thickness": "thickness (twice the ink's area over its outline)",
    "slant": "slant (pixels to the right per pixel upwards)",
    "width": "width after the slant is removed",
    "colour": "colour (red minus blue of the subject, so that warm is more than cool)",
    "lightness": "lightness of the subject",
    "size": "size (the share of the image that the subject fills)",
    "symmetry": "symmetry (the correlation of the subject with its mirror image)",
}
SUBJECT = " The subject is what differs from the median of the image's border."


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """How captions are made, images sorted by what they say, and examples."""
    answer = captions_answer(reports.record("captions/card.json"))
    return Section("captions", "The captions", (answer,), (extremes(reports), examples(reports)))


def captions_answer(card: dict[str, Any]) -> str:
    """What a caption says, and which combinations none of the training has."""
    held_out = listing([f"{row['value']} {row['class']}" for row in card["held_out"]])
    of, subject = ("stroke", "") if card["kind"] == "strokes" else ("image", SUBJECT)
    measures = listing([MEASURES[name] for name in card["properties"]])
    return (
        f"A caption gives the class and three measures of the {of}, each by the tercile of its class: {measures}."
        f"{subject} There are {whole(card['captions_per_image'])} captions an image, in several wordings with words "
        f"left out, from {whole(len(card['vocabulary']))} words. Held out of the denoiser's training (not of the "
        f"autoencoder's): {held_out}, {whole(card['n_train'] - card['n_captioned'])} of {whole(card['n_train'])} "
        "images."
    )


def extremes(reports: Reports) -> Picture:
    """Images sorted by each measure."""
    names = list(reports.record("captions/card.json")["properties"])
    labelled_sheet(reports.figure("properties.png"), reports.path("captions/examples.png"), names)
    caption = "Training images from the lowest (left) to the highest value of each measure."
    return reports.drawn("properties.png", caption, f"Images sorted by {listing(names)}")


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
