"""Words that no caption had, read as the adjectives of the captions that they mean, by a language model."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.latents.captions import Properties, article, phrases
from diffusion.latents.pretrained import LanguageModel
from diffusion.latents.properties import KINDS

RIDGE = 0.01  # of the mean squared norm of states


class Meanings:
    """A ridge regression from the state of a word, read alone, to the adjective of the captions that it stands for.

    It is fitted to the adjectives, to their paraphrases, and to `others`, which stand for none.
    """

    def __init__(self, language: LanguageModel, properties: Properties, others: Sequence[str]) -> None:
        pairs = [
            (own, *known)
            for part in properties.values()
            for own, known in zip(part.adjectives, part.paraphrases, strict=True)
        ]
        self.language, self.adjectives = language, [own for own, *_ in pairs]
        alike = [*pairs, tuple(others)] if others else pairs
        self.states = torch.stack([self.state(word) for words in alike for word in words])
        self.meanings = torch.tensor([k for k, words in enumerate(alike) for _ in words])

    def state(self, word: str) -> Tensor:
        """The mean of the last states of a word's pieces, (width,), fp64."""
        return self.language.embed(tuple(self.language.numbers(word)))[1:-1].double().mean(0)

    def adjective(self, word: str) -> str | None:
        """The adjective that a word stands for, None for none."""
        best = int(scores(self.states, self.meanings, self.state(word)[None])[0].argmax())
        return self.adjectives[best] if best < len(self.adjectives) else None


def scores(states: Tensor, meanings: Tensor, asked: Tensor) -> Tensor:
    """How well states `asked` (M, D) fit every meaning (M, K), by the states (N, D) of words whose meanings (N,) are
    known.

    All meanings count as much, however many words have them.
    """
    centre = states.mean(0)
    x, z = states - centre, asked - centre
    scale = x.square().sum(1).mean()
    answers = F.one_hot(meanings).to(x.dtype)
    as_many = answers @ answers.sum(0)  # words of the same meaning
    weights = torch.linalg.solve(x @ x.T / scale + RIDGE * as_many.diag(), answers - 1 / answers.shape[1])
    return z @ x.T / scale @ weights


def said_in(vocabulary: Sequence[str]) -> Properties | None:
    """The properties that captions of a vocabulary state, None if it is no vocabulary of captions."""
    words = {*vocabulary}
    kinds = (kind.properties for kind in KINDS.values())
    return next((found for found in kinds if {w for text in phrases(found) for w in text.split()} <= words), None)


def unknown_in(text: str, vocabulary: Sequence[str]) -> list[str]:
    """The words of a text that are neither in a vocabulary nor parts of its words."""
    known = {part for word in vocabulary for part in (word, *word.split("-"))}
    return [word for word in text.split() if word.lower() not in known]


def in_known_words(text: str, vocabulary: Sequence[str], meanings: Meanings) -> str:
    """A text with adjectives in place of its unknown words that stand for one."""
    unknown, words = {*unknown_in(text, vocabulary)}, text.split()
    for place, word in enumerate(words):
        if word in unknown and (adjective := meanings.adjective(word)):
            words[place] = adjective
            if place and words[place - 1].lower() in ("a", "an"):
                words[place - 1] = article(adjective)
    return " ".join(words)
