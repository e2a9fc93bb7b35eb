"""Whether images hold what their prompt says: captions, shares and confusions, samples, and which word looked where."""

import numpy as np
import pandas as pd

from report.content import Block, Folded, Gallery, Text, table
from report.overview import confusion_matrix
from report.plots.confusion import confusions
from report.plots.grid import picture_grid
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import NB, fixed, listing, percent, share_error, whole

PROPERTIES = {  # and what their grades are called
    "thickness": ["thin", "medium", "thick"],
    "slant": ["left", "upright", "right"],
    "width": ["narrow", "regular", "wide"],
}
GRADES = ["0", "1", "2"]
CLASS_GOAL, PROPERTY_GOAL, CHANCE = 0.85, 0.6, 1 / 3
GROUPS = {"unseen": "never seen in training", "seen": "seen in training", "reconstructed": "real images, reconstructed"}


def prompt_blocks(reports: Reports) -> list[Block]:
    """The captions, then everything that was measured on images of prompts."""
    prompts = reports.table("sample_latent/prompts.csv")
    return [
        *_captions(reports),
        _prompts_table(prompts),
        *_sheets(reports, prompts),
        _confusions(reports, prompts),
        _attention(reports),
        Text(
            'To draw something of your own: `python -m diffusion.sample --prompt "a thin three" --guidance 3 '
            "--steps 20 --out picture.png`. A word that no caption has is refused, with those that are near it."
        ),
    ]


def prompts_answer(prompts: pd.DataFrame) -> str:
    """Whether prompts hold on unseen combinations, at the scale where the weakest property holds best."""
    row = best(prompts)
    shares = {name: row[name] for name in PROPERTIES}
    words = [f"{name} {percent(share)}" for name, share in shares.items()]
    missed = [name for name, share in shares.items() if share < PROPERTY_GOAL]
    missed += ["class"] if row["accuracy"] < CLASS_GOAL else []
    goal = f"class at least {percent(CLASS_GOAL)}, each property at least {percent(PROPERTY_GOAL)}"
    verdict = f"The goal ({goal}) is met" if not missed else f"The goal ({goal}) is missed by {listing(missed)}"
    return (
        f"Asked for combinations of class and property that no caption of the training had, at w = {row['scale']:g}: "
        f"class {percent(row['accuracy'])}, {listing(words)} right (chance {percent(CHANCE)} a property, n = "
        f"{whole(row['n'])}); the very property that was held out is right in {percent(row['held_out'])}. {verdict}."
    )


def best(prompts: pd.DataFrame) -> pd.Series:
    """The row of unseen combinations whose weakest property is the strongest."""
    unseen = prompts[prompts["group"] == "unseen"]
    return unseen.loc[unseen[list(PROPERTIES)].min(axis=1).idxmax()]


def _prompts_table(prompts: pd.DataFrame) -> Block:
    """Every scale, seen and unseen."""
    shown = prompts.assign(group=prompts["group"].map(GROUPS))
    columns = [
        ("group", "Combination", str),
        ("scale", "w", lambda value: "" if np.isnan(value) else f"{value:g}"),
        ("n", "n", whole),
        ("accuracy", "Class", percent),
        *((name, name.capitalize(), percent) for name in PROPERTIES),
        ("held_out", "Held-out property", percent),
    ]
    error = share_error(0.5, float(prompts["n"].min()))
    caption = (
        "Share of images that hold what the prompt asked for, by the judge and by the measures that the captions come "
        f"from; prompts are full captions of test images. Standard error at most {percent(error)}. The last row is "
        "what real images keep through the autoencoder."
    )
    return table(shown, columns, caption)


def _captions(reports: Reports) -> list[Block]:
    card = reports.record("captions/card.json")
    examples = "captions/examples.png"
    labelled_sheet(reports.figure("strokes.png"), reports.folder / examples, list(PROPERTIES))
    picture = reports.drawn(
        "strokes.png",
        "Training images from the lowest (left) to the highest value of each measure.",
        "Images sorted by thickness, slant and width",
    )
    held_out = listing([f"{row['value']} {row['class']}" for row in card["held_out"]])
    text = Text(
        f"A caption tells the class and three measures of the stroke, each by the tercile of its class: thickness "
        f"(twice the ink's area over its outline), slant (pixels to the right per pixel upwards) and width once set "
        f"upright. {whole(card['captions_per_image'])} captions an image, in several wordings with words left out, "
        f"from {whole(len(card['vocabulary']))} words. Held out of the denoiser's training (not of the autoencoder's): "
        f"{held_out}, {whole(card['n_train'] - card['n_captioned'])} of {whole(card['n_train'])} images."
    )
    captions = reports.table("captions/captions.csv")
    terciles = reports.table("captions/terciles.csv")
    folded = Folded(
        "Captions and terciles",
        (
            table(captions, [("class", "Class", str), ("caption", "Caption", str)], "A caption of the first images."),
            table(
                terciles,
                [
                    ("class", "Class", str),
                    ("property", "Measure", str),
                    ("lower", "Lower", fixed),
                    ("upper", "Upper", fixed),
                ],
                "The bounds between the thirds of every class, from the training split.",
            ),
        ),
    )
    return [text, picture, folded]


def _sheets(reports: Reports, prompts: pd.DataFrame) -> list[Block]:
    names, scale = reports.table("sample_latent/sheet.csv")["prompt"].tolist(), best(prompts)["scale"]
    sheet = reports.folder / f"sample_latent/sheet_{scale:g}.png"
    labelled_sheet(reports.figure("unseen.png"), sheet, names)
    caption = (
        f"Combinations that the training never had, a row each, w = {scale:g}, not picked; the prompts name the other "
        "properties too."
    )
    return [
        reports.drawn("unseen.png", caption, "Samples of unseen combinations"),
        Folded(
            "Samples of the class alone",
            (Gallery((reports.picture("sample_latent/samples.png", "“a zero” to “a nine”.", "Samples by class"),)),),
        ),
    ]


def _confusions(reports: Reports, prompts: pd.DataFrame) -> Block:
    counts = reports.table("sample_latent/confusion.csv").rename(columns={"asked": "actual", "measured": "predicted"})
    counts = counts[counts["group"] == "unseen"].astype({"actual": str, "predicted": str})
    matrices = {
        f"{name}, w{NB}={NB}{scale:g}": confusion_matrix(
            counts[(counts["property"] == name) & (counts["scale"] == scale)], GRADES
        )
        for scale in prompts["scale"].dropna().unique()
        for name in PROPERTIES
    }
    confusions(reports.figure("prompt_confusion.png"), matrices, ["low", "mid", "high"])
    words = "; ".join(f"{name}: {', '.join(grades)}" for name, grades in PROPERTIES.items())
    return reports.drawn(
        "prompt_confusion.png",
        f"Prompts of unseen combinations: the grade asked for is the row, the grade measured the column ({words}).",
        "Confusion of every property by guidance scale",
    )


def _attention(reports: Reports) -> Block:
    words = reports.table("sample_latent/attention.csv")
    rows, columns = words["row"].max() + 1, words["column"].max() + 1
    notes = [[""] * columns for _ in range(rows)]
    for row, column, word in words[["row", "column", "word"]].itertuples(index=False):
        notes[row][column] = word
    tiles = reports.tiles("sample_latent/attention.png", rows, columns)
    picture_grid(reports.figure("attention.png"), tiles, ["image", *[""] * (columns - 1)], notes=notes)
    return reports.drawn(
        "attention.png",
        "Which word looked where: how much each place attends to each word, the mean over heads, blocks and steps; a "
        "row is scaled by its brightest place. What is left of the attention goes to the start of the caption.",
        "Cross-attention maps, a column per word",
    )
