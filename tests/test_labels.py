"""Classes asked for by name, index and range: what a person may type, and the line that refuses the rest."""

import unicodedata

import pytest

from diffusion.labels import labels_of

SHAPES = ("Ankle boot", "circle", "éléphant", "T-shirt, striped", "10")
DIGITS = tuple("0123456789")


@pytest.mark.parametrize(
    ("texts", "class_names", "labels"),
    [
        (["0-9"], DIGITS, [*range(10)]),
        (["1,3,5-7"], DIGITS, [1, 3, 5, 6, 7]),
        (["7", "3"], DIGITS, [7, 3]),
        (["circle"], SHAPES, [1]),
        (["circle, Ankle boot", "0"], SHAPES, [1, 0, 0]),
        (["T-shirt, striped"], SHAPES, [3]),  # a name may hold commas and hyphens
        (["10"], SHAPES, [4]),
        (["2-3"], tuple("1234"), [1, 2]),  # a number that is a name stands for that class
        (["0"], tuple("1234"), [0]),
    ],
)
def test_names_indices_and_ranges(texts, class_names, labels):
    assert labels_of(texts, class_names) == labels


def test_an_accent_is_a_character_or_a_mark_of_its_own():
    for form in ("NFC", "NFD"):
        for other in ("NFC", "NFD"):
            names = [unicodedata.normalize(form, name) for name in SHAPES]
            assert labels_of([unicodedata.normalize(other, "circle,éléphant")], names) == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cirle", "'cirle' is not possible (near it: 'circle')"),
        ("CIRCLE", "'CIRCLE' is not possible (near it: 'circle')"),
        ("elephant", "'elephant' is not possible (near it: 'éléphant')"),
        ("circle,9", "'9' is not possible (allowed: 0-4, like 0 or 0,2-3, or names: 'Ankle boot', 'circle', "),
        ("3-1", "'3-1' is not possible (allowed: 0-4"),
        ("", "'' is not possible (allowed: 0-4"),
        ("1,", "'' is not possible (allowed: 0-4"),
        ("-1", "'-1' is not possible (allowed: 0-4"),
        ("1\n2", r"'1\n2' is not possible (allowed: 0-4"),
        ("0-999999999", "'0-999999999' is not possible (allowed: 0-4"),
        ("9" * 10_000, f"'{'9' * 79} is not possible (allowed: 0-4"),
    ],
)
def test_what_is_no_class_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError) as caught:
        labels_of([text], SHAPES)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_an_error_lists_no_more_than_ten_names():
    names = [f"kind {k}" for k in range(100)]
    with pytest.raises(ValueError, match="'kind 9' and 90 more.$"):
        labels_of(["xyz"], names)
