"""Captions of images, from their class and the grades of their properties, and the vocabulary of these captions.

"a thick wide seven slanted to the right", "a large warm butterfly of symmetric shape": every caption is a function of
(seed, purpose, index). Some combinations of a class and a grade are held out: their images get no caption, so that a
model can be asked for what it never saw.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from diffusion.files import write_text
from diffusion.latents.grades import grade
from diffusion.latents.properties import KINDS, Property
from diffusion.names import composed, words_in
from diffusion.randomness import generator_for
from diffusion.tensors import load_tensors, save_tensors

BETWEEN = " | "  # captions of one image, in the file
HYPHENS = "-_\u2010\u2011"  # inside of a word that someone types
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ARTICLE, CLASS = "a", "class"  # slots of a wording beside the properties
Properties = Mapping[str, Property]
# Where a caption says what: the article, the class, and properties by number, an adjective before the class, a clause
# after it.
WORDINGS: tuple[tuple[str | int, ...], ...] = (
    (ARTICLE, 0, 2, CLASS, 1),
    (ARTICLE, 1, 2, CLASS, 0),
    (ARTICLE, 0, 1, CLASS, 2),
    (ARTICLE, CLASS, 1, 0, 2),
)
AUTO_HELD_OUT = 6  # combinations, as far as there are classes


class Combination(NamedTuple):
    """A class and a grade (0, 1, 2) of one property."""

    label: int
    name: str
    grade: int


def choose_held_out(names: Sequence[str], num_classes: int, number: int | str) -> list[Combination]:
    """The combinations without captions: classes evenly spread, properties in turn, lowest and highest grade in turn.

    `number` is how many, or auto: 6, or one for each class where there are fewer. Raises ValueError if there are more
    combinations than classes.
    """
    if isinstance(number, str):
        number = min(AUTO_HELD_OUT, num_classes)
    if number > num_classes:
        raise ValueError(
            f"captions.held_out: {number} is not possible (allowed: up to {num_classes}, one for each class, or auto)"
        )
    return [Combination(k * num_classes // number, names[k % len(names)], 2 * (k % 2)) for k in range(number)]


def belongs(combination: Combination, column: int, labels: Tensor, grades: Tensor) -> Tensor:
    """Whether images with labels (N,) and grades (N, 3) have the combination, whose property is a column, (N,)."""
    return (labels == combination.label) & (grades[:, column] == combination.grade)


def class_word(name: str) -> str:
    """The single word for a class in captions: seven for 7, ankle-boot for Ankle boot, "" for ?!."""
    return NUMBERS[int(name)] if re.fullmatch("[0-9]", name) else "-".join(words_in(name))


def class_words(names: Sequence[str], properties: Properties) -> tuple[str, ...]:
    """The words of all classes.

    Raises ValueError if a class has none, shares one with another class, or could be read as part of other captions.
    """
    words = tuple(map(class_word, names))
    taken = {word for text in phrases(properties) for word in text.split()}
    for name, word in zip(names, words, strict=True):
        if not word or words.count(word) > 1:
            raise ValueError(f"captions: class {name!r} is {word!r} in words (allowed: letters or digits of its own)")
        if word in taken:
            raise ValueError(
                f"captions: class {name!r} is {word!r} in words, which captions say of {', '.join(properties)} "
                "(rename the class, or choose other captions.properties)"
            )
    refuse_phrases_within_captions(words, properties)
    return words


def refuse_phrases_within_captions(words: tuple[str, ...], properties: Properties) -> None:
    """Raise ValueError for a class such as `small boat` beside a class `boat`, of which captions say `small`."""
    phrase = _joints(words)
    for text, word in product((f"{said} {{}}" for said in phrases(properties)), words):
        found = phrase.search(_spaced(text.format(word)))
        if found and class_word(found[0]) != word:
            raise ValueError(
                f"captions: classes {class_word(found[0])!r} and {word!r} cannot be told apart in "
                f"{text.format(word)!r} (rename one, or choose other captions.properties)"
            )


def spelled(text: str) -> str:
    """A text in which digits that stand alone are words, as in captions."""
    return re.sub(r"\b[0-9]\b", lambda digit: NUMBERS[int(digit[0])], text)


def caption(
    properties: Properties, word: str, grades: Sequence[int], wording: int = 0, without: Sequence[str] = ()
) -> str:
    """The caption of an image of class `word` in one of the WORDINGS, without some of its slots."""
    names = tuple(properties)
    slots = [slot if isinstance(slot, str) else names[slot] for slot in WORDINGS[wording]]
    slots = [slot for slot in slots if slot not in without]
    after, graded = slots.index(CLASS), dict(zip(names, grades, strict=True))
    words = [
        word
        if slot == CLASS
        else (properties[slot].adjectives if place < after else properties[slot].clauses)[graded[slot]]
        for place, slot in enumerate(slots)
        if slot != ARTICLE
    ]
    return " ".join([article(words[0]), *words] if ARTICLE in slots else words)


def random_caption(
    properties: Properties, word: str, grades: Sequence[int], left_out: float, generator: torch.Generator
) -> str:
    """A caption in a random wording; each slot but the class is left out with probability `left_out`."""
    wording = int(torch.randint(len(WORDINGS), (), generator=generator))
    absent = (torch.rand(len(properties) + 1, generator=generator) < left_out).tolist()
    without = [slot for slot, gone in zip((ARTICLE, *properties), absent, strict=True) if gone]
    return caption(properties, word, grades, wording, without)


def article(word: str) -> str:
    """The indefinite article of a word: a or an."""
    return "an" if word[0] in "aeiou" and word != "one" else "a"


def suggested_prompt(class_name: str, vocabulary: Sequence[str]) -> str:
    """A prompt in words of a vocabulary: a class, with an adjective if the vocabulary has one."""
    properties = [part for kind in KINDS.values() for part in kind.properties.values()]
    adjectives = [word for part in properties for word in part.adjectives if word in vocabulary]
    words = [*adjectives[:1], class_word(class_name)]
    return " ".join([article(words[0]), *words])


@dataclass(frozen=True)
class Vocabulary:
    """All words of captions; the k-th has number k + 1, and 0 is no word."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, class_words: Sequence[str], properties: Properties) -> "Vocabulary":
        """Every word that captions of these classes can have, in alphabetical order."""
        texts = [*class_words, "a an", *phrases(properties)]
        return cls(tuple(sorted({word for text in texts for word in text.split()})))

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, text: str) -> list[int]:
        """The numbers of the words of a text, in which 7 stands for seven and hot dog for the one word hot-dog.

        Raises ValueError for the first unknown word, with the nearest known ones as suggestions.
        """
        found = []
        joined = _joints(self.words).sub(lambda found: found[0].replace(" ", "-"), composed(text).lower())
        for word in map(class_word, words_in(joined, joined_by=HYPHENS)):
            if word not in self.words:
                near = difflib.get_close_matches(word, self.words, cutoff=0.5)
                hint = f"near it: {', '.join(near)}" if near else f"allowed: {', '.join(self.words)}"
                raise ValueError(f"the word {word!r} is not in the vocabulary ({hint})")
            found.append(self.words.index(word) + 1)
        return found

    def pieces(self, text: str) -> list[str]:
        """The words of a text, one for each of its numbers."""
        return [self.words[number - 1] for number in self.numbers(text)]


def phrases(properties: Properties) -> list[str]:
    """Everything that captions say of properties."""
    return [text for part in properties.values() for text in (*part.adjectives, *part.clauses)]


@cache
def _joints(words: tuple[str, ...]) -> re.Pattern[str]:
    """What finds the words of several parts where the parts stand apart, the longest first."""
    apart = sorted((_spaced(word) for word in words if "-" in word), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, apart))})(?![\w-])" if apart else r"(?!)")


def _spaced(text: str) -> str:
    return text.replace("-", " ")


@dataclass(frozen=True, eq=False)
class Captions:
    """The grades of both splits, and the captions of every training image, none where its combination is held out."""

    kind: str  # of the properties, one of KINDS
    class_words: tuple[str, ...]
    held_out: tuple[Combination, ...]
    bounds: Tensor  # (K, 3, 2) of the grades, see `terciles`
    train_grades: Tensor  # (N, 3)
    test_grades: Tensor  # (M, 3)
    texts: tuple[tuple[str, ...], ...]  # of N training images

    @property
    def properties(self) -> dict[str, Property]:
        """What the captions say beside the class, in the order of the columns of grades."""
        return KINDS[self.kind].properties

    @property
    def columns(self) -> list[int]:
        """The column of grades of every held-out combination."""
        return [list(self.properties).index(combination.name) for combination in self.held_out]

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of all possible captions."""
        return Vocabulary.of(self.class_words, self.properties)

    def measured(self, images: Tensor, labels: Tensor) -> Tensor:
        """The grades (N, 3) of images (N, C, H, W) with labels (N,)."""
        return grade(KINDS[self.kind].measure(images), labels, self.bounds)

    def unseen(self, labels: Tensor, grades: Tensor) -> Tensor:
        """The first held-out combination (N,) that images with labels (N,) and grades (N, 3) have, -1 for none."""
        found = torch.full_like(labels, -1)
        for index, (combination, column) in reversed(list(enumerate(zip(self.held_out, self.columns, strict=True)))):
            found[belongs(combination, column, labels, grades)] = index
        return found

    def save(self, folder: Path) -> None:
        """Write train.txt (a line for every image), vocabulary.txt and grades.safetensors."""
        tensors = {"bounds": self.bounds, "train_grades": self.train_grades, "test_grades": self.test_grades}
        description = {name: getattr(self, name) for name in ("kind", "class_words", "held_out")}
        save_tensors(folder / "grades.safetensors", tensors, description)
        lines = {"train.txt": map(BETWEEN.join, self.texts), "vocabulary.txt": self.vocabulary.words}
        for name, content in lines.items():
            write_text(folder / name, "".join(f"{line}\n" for line in content))

    @classmethod
    def load(cls, folder: Path, class_names: Sequence[str], **sizes: int) -> Self:
        """Read what `save` wrote for images of these classes; `train` and `test` are the expected sizes of the splits.

        Raises ValueError for files that are missing, damaged or do not belong together.
        """
        grades = folder / "grades.safetensors"
        tensors, description = load_tensors(grades)
        lines = (folder / "train.txt").read_text(encoding="utf-8").splitlines()
        texts = tuple(tuple(line.split(BETWEEN)) if line else () for line in lines)
        try:
            held_out = tuple(Combination(*combination) for combination in description["held_out"])
            of_classes = tuple(description["class_words"])
            captions = cls(description["kind"], of_classes, held_out, **tensors, texts=texts)
            expected = class_words(class_names, captions.properties)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{grades}: not the grades of this project ({error})") from error
        if len(texts) != len(captions.train_grades):
            raise ValueError(f"{folder / 'train.txt'}: {len(texts)} lines for {len(captions.train_grades)} images")
        found = {"train": len(captions.train_grades), "test": len(captions.test_grades)}
        if captions.class_words != expected or not sizes.items() <= found.items():
            raise ValueError(f"{grades}: made from other images than the data (run stage captions again)")
        return captions


def draw_captions(
    properties: Properties, word: str, grades: Sequence[int], index: int, per_image: int, left_out: float, seed: int
) -> tuple[str, ...]:
    """The `per_image` captions of the `index`-th training image, whose class is `word`."""
    generators = (generator_for(seed, "captions", index * per_image + k) for k in range(per_image))
    return tuple(random_caption(properties, word, grades, left_out, generator) for generator in generators)
