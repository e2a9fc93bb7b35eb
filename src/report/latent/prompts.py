"""Whether images show what their prompt says: shares and confusions, samples, and which word acted where."""

from typing import Any

import numpy as np
import pandas as pd

from report.classes import class_sheet
from report.content import Column, Folded, Picture, Section, Table, Text, table
from report.plots.confusion import confusion_matrix, confusions
from report.plots.grid import picture_grid
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import NB, fixed, listing, percent, share_error, whole

GRADES = ["0", "1", "2"]
BESIDE = {"group", "scale", "n", "accuracy", "recall", "held_out"}  # columns that are no property
CLASS_GOAL, PROPERTY_GOAL, CHANCE = 0.85, 0.6, 1 / 3
GROUPS = {"unseen": "never seen in training", "seen": "seen in training", "reconstructed": "real images, reconstructed"}


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Everything that was measured on images of prompts."""
    prompts = reports.table("sample_latent/prompts.csv")
    blocks = (
        prompts_table(prompts),
        unseen_picture(reports, best(prompts)["scale"]),
        classes(reports),
        confusion(reports, prompts),
        attention(reports),
        Text(
            f'To draw images of your own: `python -m diffusion.sample --prompt "{known_prompt(reports)}" --guidance 3 '
            "--steps 20 --out picture.png`. Unknown words are rejected, with the nearest known ones as suggestions."
        ),
    )
    return Section("prompts", "Do images show what the prompt says?", (prompts_answer(prompts),), blocks)


def known_prompt(reports: Reports) -> str:
    """The shortest caption of the training that says more of an image than its class."""
    captions = reports.table("captions/captions.csv")["caption"].tolist()
    return str(min(captions, key=lambda caption: (len(caption.split()) < 3, len(caption))))


def prompts_answer(prompts: pd.DataFrame) -> str:
    """Whether prompts hold on unseen combinations, at the scale where the weakest property holds best."""
    row = best(prompts)
    words = [f"{name} {percent(row[name])}" for name in properties(prompts)]
    missed = missed_goals(row)
    goal = f"class at least {percent(CLASS_GOAL)}, each property at least {percent(PROPERTY_GOAL)}"
    verdict = f"The goal ({goal}) is met" if not missed else f"The goal ({goal}) is missed by {listing(missed)}"
    return (
        f"For combinations of class and property that no caption of the training had, at w = {row['scale']:g}: class "
        f"{percent(row['accuracy'])}, {listing(words)} correct (chance {percent(CHANCE)} a property, n = "
        f"{whole(row['n'])}); {recall_in_words(row)}; the held-out property itself is correct in "
        f"{percent(row['held_out'])}. {verdict}."
    )


def recall_in_words(row: pd.Series) -> str:
    """What share of the real images that the prompts describe the samples recall, or why that is not known."""
    if pd.isna(row["recall"]):
        return f"n = {whole(row['n'])} is too few for a recall"
    return f"recall {fixed(row['recall'])}"


def best(prompts: pd.DataFrame) -> pd.Series:
    """The row of unseen combinations whose weakest property is the strongest."""
    unseen = prompts[prompts["group"] == "unseen"]
    return unseen.iloc[unseen[properties(prompts)].min(axis=1).fillna(-1).argmax()]


def properties(prompts: pd.DataFrame) -> list[str]:
    """The names of the properties that prompts ask for."""
    return [name for name in prompts.columns if name not in BESIDE]


def missed_goals(row: pd.Series) -> list[str]:
    """The properties, and `class`, whose share of correct images is under the goal."""
    missed = [name for name in row.index if name not in BESIDE and row[name] < PROPERTY_GOAL]
    return missed + (["class"] if row["accuracy"] < CLASS_GOAL else [])


def prompts_table(prompts: pd.DataFrame) -> Table:
    """Every scale, seen and unseen."""
    columns: list[Column] = [
        ("group", "Combination", GROUPS.__getitem__),
        ("scale", "w", lambda value: "" if np.isnan(value) else f"{value:g}"),
        ("n", "n", whole),
        ("accuracy", "Class", percent),
        ("recall", "Recall", fixed),
        *((name, name.capitalize(), percent) for name in properties(prompts)),
        ("held_out", "Held-out property", percent),
    ]
    error = share_error(0.5, float(prompts["n"].min()))
    caption = (
        "Share of images that show what the prompt asked for, by the judge and by the measures that the captions come "
        f"from; prompts are full captions of test images. Standard error at most {percent(error)}. The last row is "
        "what real images keep through the autoencoder. Recall: of the test images that prompts describe; none below "
        "500 samples, where it would show n."
    )
    return table(prompts, columns, caption)


def unseen_picture(reports: Reports, scale: float) -> Picture:
    """Samples of unseen combinations, a row each."""
    names = reports.table("sample_latent/sheet.csv")["prompt"].tolist()
    labelled_sheet(reports.figure("unseen.png"), reports.path(f"sample_latent/sheet_{scale:g}.png"), names)
    caption = (
        f"Combinations that the training never had, a row each, w = {scale:g}, not selected; the prompts name the "
        "other properties too."
    )
    return reports.drawn("unseen.png", caption, "Samples of unseen combinations")


def classes(reports: Reports) -> Folded:
    """Samples of captions that name the class alone."""
    caption = "Samples of captions that name nothing but the class, a row each."
    sheet = class_sheet(reports, "of_class", "sample_latent/samples.png", caption, "Samples by class")
    return Folded("Samples of the class alone", tuple(sheet))


def confusion(reports: Reports, prompts: pd.DataFrame) -> Picture:
    """Grades asked for against grades measured, by property and scale."""
    words = reports.record("captions/card.json")["properties"]
    counts = reports.table("sample_latent/confusion.csv").rename(columns={"asked": "actual", "measured": "predicted"})
    counts = counts[counts["group"] == "unseen"].astype({"actual": str, "predicted": str})
    matrices = {
        f"{name}, w{NB}={NB}{scale:g}": confusion_matrix(
            counts[(counts["property"] == name) & (counts["scale"] == scale)], GRADES
        )
        for scale in prompts["scale"].dropna().unique()
        for name in words
    }
    confusions(reports.figure("prompt_confusion.png"), matrices, ["low", "mid", "high"])
    named = "; ".join(f"{name}: {', '.join(grades)}" for name, grades in words.items())
    return reports.drawn(
        "prompt_confusion.png",
        f"Prompts of unseen combinations: the grade asked for is the row, the grade measured the column ({named}).",
        "Confusion of every property by guidance scale",
    )


def attention(reports: Reports) -> Picture:
    """Where in the image every word of a prompt was attended to."""
    words = reports.table("sample_latent/attention.csv")
    rows, columns = words["row"].max() + 1, words["column"].max() + 1
    notes = [[""] * columns for _ in range(rows)]
    for row, column, word in words[["row", "column", "word"]].itertuples(index=False):
        notes[row][column] = word
    tiles = reports.tiles("sample_latent/attention.png", rows, columns)
    picture_grid(reports.figure("attention.png"), tiles, ["image", *[""] * (columns - 1)], notes=notes)
    return reports.drawn(
        "attention.png",
        "How much each place of the image attends to each word, the mean over heads, blocks and steps; a row is scaled "
        "by its brightest place. The rest of the attention goes to the start of the caption.",
        "Cross-attention maps, a column per word",
    )
