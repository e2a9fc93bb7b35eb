"""Names from outside, of folders, classes and words: Unicode text of any script.

Spaces of every kind, marks, and the joiners that some scripts need are parts of names; what would break a table or a
message is not.
"""

import unicodedata

BREAKING = ("Cc", "Cs", "Zl", "Zp")  # categories: control characters, bytes that are not text, line and paragraph ends
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # turn the direction of what follows
JOINERS = "\u200c\u200d"  # between letters of one word, in Persian or Hindi for instance


def composed(text: str) -> str:
    """A text in Unicode's normal form C, in which an accent typed alone is a part of its letter."""
    return unicodedata.normalize("NFC", text)


def fits_a_table(text: str) -> bool:
    """Whether a text can stand in a line of a table without breaking it or turning the rest of it around."""
    return not any(unicodedata.category(character) in BREAKING or character in TURNING for character in text)


def shown(name: object) -> str:
    """A name or path as a message quotes it: escapes for what cannot be printed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))


def words_in(text: str, joined_by: str = "") -> list[str]:
    """The runs of letters and digits in a text, composed and in lower case; `joined_by` may stand inside of them.

    Marks belong to their letters, and so do the joiners between letters.
    """
    kept = (c if c in joined_by or c in JOINERS or _kind(c) in "LNM" else " " for c in composed(composed(text).lower()))
    runs = (run.strip(JOINERS) for run in "".join(kept).split(" "))
    return [run for run in runs if any(_kind(character) in "LN" for character in run)]


def _kind(character: str) -> str:
    """L for letters, N for digits, M for marks: the first letter of the category."""
    return unicodedata.category(character)[0]
