"""Prompts of one property each, in words that captions had and in words that none had, and what their images show."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.data import save_sheet
from diffusion.latents.captions import article, class_word
from diffusion.quality.classification import accuracy
from diffusion.randomness import generator_for
from stages.params.keys import SampleLatent
from stages.shared.outputs import write_json, write_table
from stages.shared.prompted import Prompted

SHEET_CLASSES = 10
WORDS = {"captions": False, "unheard": True}  # words of the training's captions, and words that none of them had
GROUPS = {"unseen": False, "seen": True}  # combinations of a class and a property, as for whole captions


class Asked(NamedTuple):
    """A prompt of one property, `a slim three`, and what its image should show."""

    word: str
    label: int
    column: int  # of the property
    grade: int

    def text(self, class_words: tuple[str, ...]) -> str:
        """The prompt."""
        return f"{article(self.word)} {self.word} {class_words[self.label]}"


def prompts_of(opened: Prompted, unheard: bool) -> Iterator[Asked]:
    """A prompt for every word of every grade of every property, and every class."""
    classes = range(len(opened.captions.class_words))
    for column, part in enumerate(opened.captions.properties.values()):
        for grade, heard in enumerate(part.adjectives):
            for word, label in product(part.unheard[grade] if unheard else (heard,), classes):
                yield Asked(word, label, column, grade)


def is_seen(opened: Prompted, asked: Asked) -> bool:
    """Whether the training had captions of this class with this grade."""
    held_out = zip(opened.captions.held_out, opened.captions.columns, strict=True)
    return all((one.label, column, one.grade) != (asked.label, asked.column, asked.grade) for one, column in held_out)


def write_synonyms(results: Path, opened: Prompted, settings: SampleLatent, batch_size: int) -> None:
    """Draw images of words heard and unheard, and write what share shows what was asked, and a sheet at every scale."""
    names, class_words = list(opened.captions.properties), opened.captions.class_words
    shares: list[list[object]] = []
    by_word: list[list[object]] = []
    for scale, (group, seen), (words, unheard) in product(settings.scales, GROUPS.items(), WORDS.items()):
        found = [asked for asked in prompts_of(opened, unheard) if is_seen(opened, asked) == seen]
        order = torch.randperm(len(found), generator=generator_for(opened.reference.seed, "synonyms")).tolist()
        chosen = [found[order[k % len(order)]] for k in range(settings.num_prompts)]
        texts = [asked.text(class_words) for asked in chosen]
        images = opened.draw(texts, settings.num_steps, scale, f"synonyms/{words}/{group}", batch_size)
        right, classes = shown(opened, images, chosen)
        columns = torch.tensor([asked.column for asked in chosen])
        of_each = [share(right[columns == column]) for column in range(len(names))]
        shares.append([group, words, scale, len(chosen), classes, *of_each, right.double().mean().item()])
        by_word += [[group, words, scale, *row] for row in rows_of_words(chosen, right, names)]
    columns_of = ["group", "words", "scale"]
    write_table(results / "synonyms.csv", [*columns_of, "n", "accuracy", *names, "property"], shares)
    write_table(results / "words.csv", [*columns_of, "property", "grade", "word", "n", "share"], by_word)
    write_json(results / "synonyms.json", refusals(opened))
    write_sheets(results, opened, settings, batch_size)


def share(right: Tensor) -> float | None:
    """The mean of truths (N,), None of none: what is held out need not be of every property."""
    return right.double().mean().item() if len(right) else None


def shown(opened: Prompted, images: Tensor, chosen: list[Asked]) -> tuple[Tensor, float]:
    """Whether each image shows the property that it was asked for (N,), and the share that shows the class."""
    labels = torch.tensor([asked.label for asked in chosen])
    grades = opened.captions.measured(images, labels)
    of_asked = grades[torch.arange(len(chosen)), torch.tensor([asked.column for asked in chosen])]
    right = of_asked == torch.tensor([asked.grade for asked in chosen])
    return right, accuracy(opened.reference.judge.see(images).logits.argmax(1), labels)


def rows_of_words(chosen: list[Asked], right: Tensor, names: list[str]) -> Iterator[list[object]]:
    """A property, a grade, a word for it, and how often it held among how many."""
    for column, grade, word in sorted({(asked.column, asked.grade, asked.word) for asked in chosen}):
        of_word = right[[(asked.column, asked.grade, asked.word) == (column, grade, word) for asked in chosen]]
        yield [names[column], grade, word, len(of_word), of_word.double().mean().item()]


def refusals(opened: Prompted) -> dict[str, int]:
    """How many of the prompts in unheard words the vocabulary of the own encoder would refuse."""
    known = {part for word in opened.captions.vocabulary.words for part in (word, *word.split("-"))}
    asked = list(prompts_of(opened, unheard=True))
    return {"n": len(asked), "refused": sum(class_word(one.word) not in known for one in asked)}


def write_sheets(results: Path, opened: Prompted, settings: SampleLatent, batch_size: int) -> None:
    """A row for every word of the captions, under it those for the same that none had, a column for each of the first
    classes, at every scale."""
    asked_in = [(words, asked) for words, unheard in WORDS.items() for asked in prompts_of(opened, unheard)]
    of_first = [(words, asked) for words, asked in asked_in if asked.label < SHEET_CLASSES]
    of_first.sort(key=lambda pair: (pair[1].column, pair[1].grade))  # stable: the captions' word comes first
    shown = [asked for _, asked in of_first]
    texts = [asked.text(opened.captions.class_words) for asked in shown]
    for scale in settings.scales:
        images = opened.draw(texts, settings.num_steps, scale, "synonyms/sheet", batch_size)
        save_sheet(results / f"synonyms_{scale:g}.png", images, min(SHEET_CLASSES, len(opened.captions.class_words)))
    rows = dict.fromkeys((asked.word, words) for words, asked in of_first)
    write_table(results / "synonyms_sheet.csv", ["row", "word", "words"], ([k, *row] for k, row in enumerate(rows)))
