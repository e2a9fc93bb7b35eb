"""How words that no caption had are read, on states that are made up, and how that is tried."""

import torch

from benchmarks.words import FOLDS, REPEATS, folds, of_paraphrases
from diffusion.latents import model
from diffusion.latents.captions import Vocabulary
from diffusion.latents.meanings import Meanings, in_known_words, said_in, unknown_in
from diffusion.latents.model import Words
from diffusion.latents.properties import KINDS

STROKES = KINDS["strokes"].properties
VOCABULARY = Vocabulary.of(("three", "ankle-boot"), STROKES).words
TEXT = {"encoder": "pretrained", "folder": ""}


class Language:
    """A language model to which all words for a grade are alike, and all words that it does not know are noise."""

    def __init__(self):
        draw, self.width = torch.Generator().manual_seed(0), 40
        parts = [
            part for of in STROKES.values() for part in zip(of.adjectives, of.paraphrases, of.unheard, strict=True)
        ]
        centres = torch.randn(10, self.width, generator=draw)
        self.known = {word: centres[k] for k, (own, *others) in enumerate(parts) for word in (own, *sum(others, ()))}
        self.other, self.read, self.draw = centres[9], [], draw

    def numbers(self, text):
        self.read.append(text)
        return [len(self.read)]

    def embed(self, numbers):
        state = self.known.get(self.read[numbers[0] - 1], self.other)
        states = state + 0.3 * torch.randn(3, self.width, generator=self.draw)
        states[::2] = 20 * torch.randn(2, self.width, generator=self.draw)  # start and end are no part of a word
        return states


def test_words_that_no_caption_had_become_adjectives_and_all_others_stay():
    others = [word for word in VOCABULARY if word not in {a for part in STROKES.values() for a in part.adjectives}]
    meanings = Meanings(Language(), STROKES, others)
    found = {text: in_known_words(text, VOCABULARY, meanings) for text in ("a slim three", "a quiet hefty ankle boot")}
    assert found == {"a slim three": "a thin three", "a quiet hefty ankle boot": "a quiet thick ankle boot"}
    assert in_known_words("a forward-leaning Three", VOCABULARY, meanings) == "a right-leaning Three"
    assert in_known_words("an erect three", VOCABULARY, meanings) == "an upright three"
    assert in_known_words("a erect three", VOCABULARY, meanings) == "an upright three"
    assert unknown_in("a left leaning Three of ankle-boot size", VOCABULARY) == ["of", "size"]


def test_a_language_model_is_given_known_words_and_the_captions_as_they_are(monkeypatch):
    language = Language()
    monkeypatch.setattr(model, "opened", lambda text: language)
    words = Words(TEXT, VOCABULARY)
    words.numbers("a thin three slanted to the left")
    assert language.read == ["a thin three slanted to the left"]  # nothing was fitted for it
    assert words.understood("a skinny 3") == "a thin three"
    assert Words(TEXT, ("thin", "one")).understood("a skinny one") == "a skinny one"  # no vocabulary of captions
    assert Words(TEXT | {"encoder": "own"}, VOCABULARY).understood("a skinny 3") == "a skinny 3"


def test_the_vocabulary_tells_the_kind_of_its_captions():
    for kind in KINDS.values():
        assert said_in(Vocabulary.of(("cat",), kind.properties).words) == kind.properties
    assert said_in(("thin", "one")) is None


def test_every_word_is_tried_once_and_never_among_those_that_are_fitted():
    parts = list(folds(51, repeat=0))
    assert len(parts) == FOLDS and sorted(k for _, tried in parts for k in tried) == list(range(51))
    assert all(sorted([*fitted, *tried]) == list(range(51)) for fitted, tried in parts)


def test_what_is_found_is_all_where_states_show_it_and_chance_where_they_do_not():
    draw, means = torch.Generator().manual_seed(0), torch.arange(9).repeat(6)
    noise, centres = torch.randn(54, 40, generator=draw).double(), 4 * torch.randn(9, 40, generator=draw).double()
    found = of_paraphrases(centres[means] + noise, means)
    assert found == (45 * REPEATS, 45 * REPEATS, 45 * REPEATS)
    by_chance = of_paraphrases(noise, means)
    assert by_chance.adjective < by_chance.n / 3 and 0.15 < by_chance.grade / by_chance.n < 0.55


def test_synonyms_that_are_measured_are_no_part_of_what_is_fitted():
    language = Language()
    Meanings(language, STROKES, VOCABULARY)
    unheard = {word for part in STROKES.values() for words in part.unheard for word in words}
    assert language.read and not unheard & {*language.read}
