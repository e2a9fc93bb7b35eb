"""Prompts in words that no caption of the training had: whether a pretrained language model carries them over."""

from typing import Any

import pandas as pd

from report.content import Column, Folded, Picture, Section, Table, table
from report.latent.prompts import CHANCE, GROUPS
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import listing, percent, share_error, whole

WORDS = {"captions": "of the captions", "unheard": "never in a caption"}
GOAL = 0.8  # of the share at which a property holds in the words of the captions
KEYS = ("group", "words", "scale", "n", "accuracy", "property")  # columns beside the properties


def section(reports: Reports, params: dict[str, Any]) -> Section | None:
    """Answer, samples and tables; nothing where the text encoder knows its vocabulary alone."""
    if "sample_latent/synonyms.csv" not in reports:
        return None
    rows = reports.table("sample_latent/synonyms.csv")
    scale = best_scale(rows)
    blocks = (sheet(reports, scale), shares_table(rows), by_word(reports, scale))
    answer = synonyms_answer(rows, reports.record("sample_latent/synonyms.json"))
    return Section("synonyms", "Words that no caption had", (answer,), blocks)


def best_scale(rows: pd.DataFrame) -> float:
    """The guidance scale at which unheard words hold best, over seen and unseen combinations."""
    means = rows[rows["words"] == "unheard"].groupby("scale", as_index=False)["property"].mean()
    return float(means["scale"].iloc[int(means["property"].argmax())])


def synonyms_answer(rows: pd.DataFrame, vocabulary: dict[str, int]) -> str:
    """How often unheard words hold their property, beside the words of the captions, chance and the own encoder."""
    scale = best_scale(rows)
    at = rows[(rows["scale"] == scale) & (rows["group"] == "seen")]
    (unheard,), (heard,) = (at[at["words"] == words].to_dict("records") for words in ("unheard", "captions"))
    ratio = unheard["property"] / heard["property"]
    names = [name for name in rows.columns if name not in KEYS]
    each = listing([f"{name} {percent(unheard[name])} ({percent(heard[name])})" for name in names])
    return (
        "Asked for one property in a word that no caption of the training had, "
        f"{percent(unheard['property'])} of the images show it, in the captions' own words "
        f"{percent(heard['property'])} (chance {percent(CHANCE)}, n = {whole(unheard['n'])} each, w = {scale:g}): "
        f"{percent(ratio)} of what these do, {'which meets' if ratio >= GOAL else 'short of'} the goal of "
        f"{percent(GOAL)}. Such a word is read as the captions' adjective that the language model finds it to mean. By "
        f"property, with that of the captions' words in brackets: {each}. A vocabulary of the captions, which is all "
        f"that the own encoder has, refuses {whole(vocabulary['refused'])} of the "
        f"{whole(vocabulary['n'])} prompts."
    )


def sheet(reports: Reports, scale: float) -> Picture:
    """A row for every word of the captions, under it those for the same that none had, a column for every class."""
    rows = reports.table("sample_latent/synonyms_sheet.csv")
    labels = [
        word if words == "captions" else f"– {word}" for word, words in zip(rows["word"], rows["words"], strict=True)
    ]
    labelled_sheet(reports.figure("synonyms.png"), reports.path(f"sample_latent/synonyms_{scale:g}.png"), labels)
    caption = (
        "A word of the captions in a row, and under it, with a dash, words for the same that no training had; a class "
        "in every column, as in “a slim three”, with nothing said of the other properties; "
        f"w = {scale:g}, not selected."
    )
    return reports.drawn("synonyms.png", caption, "Samples of words that no caption had")


def shares_table(rows: pd.DataFrame) -> Table:
    """Heard and unheard words, combinations seen and unseen, every scale."""
    columns: list[Column] = [
        ("group", "Combination", GROUPS.__getitem__),
        ("words", "Words", WORDS.__getitem__),
        ("scale", "w", lambda value: f"{value:g}"),
        ("n", "n", whole),
        ("accuracy", "Class", percent),
        *((name, name.capitalize(), percent) for name in rows.columns if name not in KEYS),
        ("property", "Property asked for", percent),
    ]
    error = share_error(0.5, float(rows["n"].min()))
    caption = (
        "Share of images that show the class, and the one property that their prompt names, by the judge and by the "
        f"measures that the captions come from. Standard error of the last column at most {percent(error)}. "
        "Recall: none, since no real images belong to prompts that name one property alone."
    )
    return table(rows, columns, caption)


def by_word(reports: Reports, scale: float) -> Folded:
    """Every word on its own, at the best scale, in combinations seen in training."""
    rows, grades = reports.table("sample_latent/words.csv"), reports.record("captions/card.json")["properties"]
    rows = rows[(rows["scale"] == scale) & (rows["group"] == "seen")]
    means = [grades[name][grade] for name, grade in zip(rows["property"], rows["grade"], strict=True)]
    columns: list[Column] = [
        ("property", "Property", str),
        ("means", "Grade", str),
        ("word", "Word", str),
        ("n", "n", whole),
        ("share", "Images that show it", percent),
    ]
    caption = f"Words of the captions and words that none had, w = {scale:g}, combinations seen in training."
    return Folded("Word by word", (table(rows.assign(means=means), columns, caption),))
