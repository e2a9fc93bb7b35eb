"""Names of classes in pictures: of any script that a font on this machine has, and short enough to stand there."""

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from report.wording import isolated

FONT = "DejaVu Sans"  # comes with matplotlib, so that most names look the same everywhere
LONGEST = 22  # characters of a name in a picture
NO_FONTS = ("Last Resort", "Emoji")  # with boxes in place of letters, or with pictures that cannot be scaled


class Names(NamedTuple):
    """Names in full, and as they are drawn."""

    full: list[str]
    drawn: list[str]

    @property
    def legend(self) -> str:
        """What must be said beside a picture of the names that it does not show in full: "3: the whole name"."""
        pairs = zip(self.full, self.drawn, strict=True)
        return "; ".join(f"{short}: {isolated(name)}" for name, short in pairs if short != name)

    def take(self, places: Iterable[int]) -> "Names":
        """The names at these places, drawn as they are among all of them."""
        chosen = list(places)
        return Names([self.full[place] for place in chosen], [self.drawn[place] for place in chosen])


def names_for_pictures(names: Sequence[str]) -> Names:
    """Names as they are where they fit; the others cut, or as their number where no font has their letters."""
    cut = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rstrip()}…" for name in names]
    drawn = [
        short if is_drawable(short) and cut.count(short) == 1 else str(number)
        for number, short in enumerate(cut, start=1)
    ]
    return Names(list(names), drawn)


def families(texts: Sequence[str]) -> list[str]:
    """The fonts that these texts need, the usual one first; letters that no font has are missing in all of them."""
    needed, found = _letters("".join(texts)) - _letters_of(_path_of(FONT)), [FONT]
    for name, path in _installed() if needed else ():
        if needed & _letters_of(path):
            found.append(name)
            needed = needed - _letters_of(path)
        if not needed:
            break
    return found


def in_their_fonts(texts: Sequence[str]) -> AbstractContextManager[None]:
    """A context for drawing these texts."""
    return matplotlib.rc_context({"font.family": families(texts)})


def is_drawable(text: str) -> bool:
    """Whether fonts on this machine have all letters of a text."""
    paths = [_path_of(name) for name in families([text])]
    return _letters(text) <= frozenset().union(*map(_letters_of, paths))


def _letters(text: str) -> frozenset[int]:
    """The code points that leave a mark or a space; joiners and marks of direction have no picture of their own."""
    return frozenset(ord(letter) for letter in text if unicodedata.category(letter) not in ("Cf", "Cc", "Mn"))


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Name and file of a regular font of every family, by name."""
    fonts = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and not any(word in font.name for word in NO_FONTS)
    }
    return tuple(sorted(fonts.items()))


@cache
def _path_of(name: str) -> str:
    return str(font_manager.findfont(name))


@cache
def _letters_of(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())
