"""How many words that it was not fitted to are read as the adjective that they mean (`diffusion.latents.meanings`)?

    python -m benchmarks.words

Paraphrases in four folds, ten times: fitted to three, tried on the fourth. The synonyms by which a trained model is
measured (`unheard`) take no part.
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.latents.meanings import Meanings, scores
from diffusion.latents.pretrained import language_model
from diffusion.latents.properties import KINDS
from diffusion.randomness import generator_for

FOLDS, REPEATS = 4, 10


class Tried(NamedTuple):
    """Of how many words the adjective was found, and of how many its grade among those of its property."""

    n: int
    adjective: int
    grade: int


def folds(number: int, repeat: int) -> Iterator[tuple[list[int], list[int]]]:
    """What is fitted and what is tried of so many things."""
    order = torch.randperm(number, generator=generator_for(0, "folds", repeat)).tolist()
    for fold in range(FOLDS):
        tried = order[fold::FOLDS]
        yield sorted({*order} - {*tried}), tried


def of_paraphrases(states: Tensor, means: Tensor) -> Tried:
    """Fit to states (N, D) of words that mean (N,) without a fold of the paraphrases, and try it on that.

    The first word of every meaning is no paraphrase.
    """
    own = [int(torch.where(means == meaning)[0][0]) for meaning in means.unique()]
    paraphrases = [k for k in range(len(means)) if k not in own]
    adjective = grade = n = 0
    for fitted, tried in chain.from_iterable(folds(len(paraphrases), repeat) for repeat in range(REPEATS)):
        rows, others = [*own, *(paraphrases[k] for k in fitted)], [paraphrases[k] for k in tried]
        found, asked = scores(states[rows], means[rows], states[others]), means[others]
        of_property = found.unflatten(1, (-1, 3))[torch.arange(len(asked)), asked // 3]
        adjective += int((found.argmax(1) == asked).sum())
        grade += int((of_property.argmax(1) == asked % 3).sum())
        n += len(tried)
    return Tried(n, adjective, grade)


def main() -> None:
    """Print a row for every kind of captions."""
    language = language_model("pretrained", "")
    print("| captions | words | adjective found | its grade, the property given |\n|---|---:|---:|---:|")
    for name, kind in KINDS.items():
        meanings = Meanings(language, kind.properties, others=())
        found = of_paraphrases(meanings.states, meanings.meanings)
        words = found.n // REPEATS
        print(f"| {name} | {words} | {100 * found.adjective / found.n:.1f} % | {100 * found.grade / found.n:.1f} % |")


if __name__ == "__main__":
    main()
