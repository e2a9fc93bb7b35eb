"""Captions of images, from their class and the grades of their strokes, and the vocabulary of these captions.

"a thick wide seven slanted to the right": every caption is a function of (seed, purpose, index). Some combinations of
a class and a grade are held out: their images get no caption, so that a model can be asked for what it never saw.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from diffusion.files import write_text
from diffusion.latents.strokes import PROPERTIES
from diffusion.names import words_in
from diffusion.randomness import generator_for
from diffusion.tensors import load_tensors, save_tensors

BETWEEN = " | "  # captions of one image, in the file
HYPHENS = "-_\u2010\u2011"  # inside of a word that someone types
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ARTICLE, CLASS = "a", "class"  # slots of a wording beside the properties
ADJECTIVES = {
    "thickness": ("thin", "medium", "thick"),
    "slant": ("left-leaning", "upright", "right-leaning"),
    "width": ("narrow", "regular", "wide"),
}
CLAUSES = {
    "thickness": ("with thin strokes", "with medium strokes", "with thick strokes"),
    "slant": ("slanted to the left", "standing upright", "slanted to the right"),
    "width": ("drawn narrow", "drawn regular", "drawn wide"),
}
# A slot is the article, the class, or a property: an adjective before the class, a clause after it.
WORDINGS = (
    (ARTICLE, "thickness", "width", CLASS, "slant"),
    (ARTICLE, "slant", "width", CLASS, "thickness"),
    (ARTICLE, "thickness", "slant", CLASS, "width"),
    (ARTICLE, CLASS, "slant", "thickness", "width"),
)


class Combination(NamedTuple):
    """A class and a grade (0, 1, 2) of one property."""

    label: int
    name: str
    grade: int


def choose_held_out(num_classes: int, number: int) -> list[Combination]:
    """The combinations without captions: classes evenly spread, properties in turn, lowest and highest grade in turn.

    Raises ValueError if there are more combinations than classes.
    """
    if number > num_classes:
        raise ValueError(f"captions.held_out: {number} is not possible (allowed: up to {num_classes} classes)")
    return [Combination(k * num_classes // number, PROPERTIES[k % 3], 2 * (k % 2)) for k in range(number)]


def belongs(combination: Combination, labels: Tensor, grades: Tensor) -> Tensor:
    """Whether images with labels (N,) and grades (N, 3) have the combination, (N,)."""
    column = PROPERTIES.index(combination.name)
    return (labels == combination.label) & (grades[:, column] == combination.grade)


def class_word(name: str) -> str:
    """The single word for a class in captions: seven for 7, ankle-boot for Ankle boot, "" for ?!."""
    return NUMBERS[int(name)] if re.fullmatch("[0-9]", name) else "-".join(words_in(name))


def class_words(names: Sequence[str]) -> tuple[str, ...]:
    """The words of all classes. Raises ValueError if a class has none, or shares one with another class."""
    words = tuple(map(class_word, names))
    for name, word in zip(names, words, strict=True):
        if not word or words.count(word) > 1:
            raise ValueError(f"captions: class {name!r} is {word!r} in words (allowed: letters or digits of its own)")
    return words


def caption(word: str, grades: Sequence[int], wording: int = 0, without: Sequence[str] = ()) -> str:
    """The caption of an image of class `word` in one of the WORDINGS, without some of its slots."""
    graded = dict(zip(PROPERTIES, grades, strict=True))
    slots = [slot for slot in WORDINGS[wording] if slot not in without]
    after = slots.index(CLASS)
    words = [
        word if slot == CLASS else (ADJECTIVES if place < after else CLAUSES)[slot][graded[slot]]
        for place, slot in enumerate(slots)
        if slot != ARTICLE
    ]
    return " ".join([article(words[0]), *words] if ARTICLE in slots else words)


def random_caption(word: str, grades: Sequence[int], left_out: float, generator: torch.Generator) -> str:
    """A caption in a random wording; each slot but the class is left out with probability `left_out`."""
    wording = int(torch.randint(len(WORDINGS), (), generator=generator))
    absent = (torch.rand(len(PROPERTIES) + 1, generator=generator) < left_out).tolist()
    without = [slot for slot, gone in zip((ARTICLE, *PROPERTIES), absent, strict=True) if gone]
    return caption(word, grades, wording, without)


def article(word: str) -> str:
    """The indefinite article of a word: a or an."""
    return "an" if word[0] in "aeiou" and word != "one" else "a"


def suggested_prompt(class_name: str, vocabulary: Sequence[str]) -> str:
    """A prompt in words of a vocabulary: a class, with an adjective if the vocabulary has one."""
    adjectives = [word for words in ADJECTIVES.values() for word in words if word in vocabulary]
    words = [*adjectives[:1], class_word(class_name)]
    return " ".join([article(words[0]), *words])


@dataclass(frozen=True)
class Vocabulary:
    """All words of captions; the k-th has number k + 1, and 0 is no word."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, class_words: Sequence[str]) -> "Vocabulary":
        """Every word that captions of these classes can have, in alphabetical order."""
        phrases = [*class_words, "a an", *sum([*ADJECTIVES.values(), *CLAUSES.values()], ())]
        return cls(tuple(sorted({word for phrase in phrases for word in phrase.split()})))

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, text: str) -> list[int]:
        """The numbers of the words of a text, in which 7 stands for seven.

        Raises ValueError for the first unknown word, with the nearest known ones as suggestions.
        """
        found = []
        for word in map(class_word, words_in(text, joined_by=HYPHENS)):
            if word not in self.words:
                near = difflib.get_close_matches(word, self.words, cutoff=0.5)
                hint = f"near it: {', '.join(near)}" if near else f"allowed: {', '.join(self.words)}"
                raise ValueError(f"the word {word!r} is not in the vocabulary ({hint})")
            found.append(self.words.index(word) + 1)
        return found


@dataclass(frozen=True, eq=False)
class Captions:
    """The grades of both splits, and the captions of every training image, none where its combination is held out."""

    class_words: tuple[str, ...]
    held_out: tuple[Combination, ...]
    bounds: Tensor  # (K, 3, 2) of the grades, see strokes.terciles
    train_grades: Tensor  # (N, 3)
    test_grades: Tensor  # (M, 3)
    texts: tuple[tuple[str, ...], ...]  # of N training images

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of all possible captions."""
        return Vocabulary.of(self.class_words)

    def unseen(self, labels: Tensor, grades: Tensor) -> Tensor:
        """The first held-out combination (N,) that images with labels (N,) and grades (N, 3) have, -1 for none."""
        found = torch.full_like(labels, -1)
        for index, combination in reversed(list(enumerate(self.held_out))):
            found[belongs(combination, labels, grades)] = index
        return found

    def save(self, folder: Path) -> None:
        """Write train.txt (a line for every image), vocabulary.txt and strokes.safetensors."""
        tensors = {"bounds": self.bounds, "train_grades": self.train_grades, "test_grades": self.test_grades}
        description = {"class_words": self.class_words, "held_out": self.held_out}
        save_tensors(folder / "strokes.safetensors", tensors, description)
        lines = {"train.txt": map(BETWEEN.join, self.texts), "vocabulary.txt": self.vocabulary.words}
        for name, content in lines.items():
            write_text(folder / name, "".join(f"{line}\n" for line in content))

    @classmethod
    def load(cls, folder: Path, class_names: Sequence[str], **sizes: int) -> Self:
        """Read what `save` wrote for images of these classes; `train` and `test` are the expected sizes of the splits.

        Raises ValueError for files that are missing, damaged or do not belong together.
        """
        strokes = folder / "strokes.safetensors"
        tensors, description = load_tensors(strokes)
        lines = (folder / "train.txt").read_text(encoding="utf-8").splitlines()
        texts = tuple(tuple(line.split(BETWEEN)) if line else () for line in lines)
        try:
            held_out = tuple(Combination(*combination) for combination in description["held_out"])
            captions = cls(tuple(description["class_words"]), held_out, **tensors, texts=texts)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{strokes}: not the strokes of this project ({error})") from error
        if len(texts) != len(captions.train_grades):
            raise ValueError(f"{folder / 'train.txt'}: {len(texts)} lines for {len(captions.train_grades)} images")
        found = {"train": len(captions.train_grades), "test": len(captions.test_grades)}
        if captions.class_words != class_words(class_names) or not sizes.items() <= found.items():
            raise ValueError(f"{strokes}: made from other images than the data (run stage captions again)")
        return captions


def draw_captions(
    word: str, grades: Sequence[int], index: int, per_image: int, left_out: float, seed: int
) -> tuple[str, ...]:
    """The `per_image` captions of the `index`-th training image, whose class is `word`."""
    generators = (generator_for(seed, "captions", index * per_image + k) for k in range(per_image))
    return tuple(random_caption(word, grades, left_out, generator) for generator in generators)
