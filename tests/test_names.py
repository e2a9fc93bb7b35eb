"""Names are Unicode text of any script, and only what would break a table is none."""

import unicodedata

import pytest

from diffusion.names import composed, fits_a_table, shown, words_in

SCRIPTS = [
    "Ampère",
    "हिन्दी",
    "العربية",
    "עִבְרִית",
    "ไทย",
    "தமிழ்",
    "가나다",
    "猫",
    "Ελληνικά",
    "می\u200cخواهم",
    "क्\u200dष",
]


@pytest.mark.parametrize("word", SCRIPTS)
def test_a_word_of_any_script_is_one_word_however_its_marks_are_typed(word):
    lower = composed(word.lower())
    for form in ("NFC", "NFD"):
        typed = unicodedata.normalize(form, word)
        assert fits_a_table(typed)
        assert words_in(f"¡{typed}, {typed.upper()}_{typed}!") == [lower, composed(lower.upper().lower()), lower]


def test_words_are_parted_by_everything_else():
    assert words_in("T-shirt/top_1\u202fa\u2014b") == ["t", "shirt", "top", "1", "a", "b"]
    assert words_in("left-leaning, - hot_dog", joined_by="-_") == ["left-leaning", "hot_dog"]
    assert words_in("\u0301 \u200d\u200c ?! 😀\ufe0f") == []
    assert words_in("\u200dcat\u200c") == ["cat"]


@pytest.mark.parametrize(
    "character", ["\u202f", "\u00a0", "\u3000", "\u200d", "\u200c", "\u0301", "\u00ad", "\u200e", "😀"]
)
def test_spaces_marks_joiners_and_pictures_fit_a_table(character):
    assert fits_a_table(f"a{character}b")


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\0", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2067", "\udce9"]
)
def test_what_ends_a_line_turns_it_or_is_no_text_does_not(character):
    assert not fits_a_table(f"a{character}b")
    assert shown(f"a{character}b").isprintable()


def test_what_can_be_printed_is_shown_as_it_is():
    assert shown("Ampère 猫/1.png") == "Ampère 猫/1.png" and shown("a\u202fb\n") == "a\\u202fb\\n"
