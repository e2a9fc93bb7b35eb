"""Classes asked for by a person: by name, by index, as a range of indices."""

import difflib
import re
from collections.abc import Mapping, Sequence

from diffusion.names import composed

SHOWN_NAMES = 10  # by an error
INDICES = re.compile("([0-9]{1,9})(?:-([0-9]{1,9}))?")


def labels_of(texts: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """The labels that texts like `circle`, `3`, `0-9` or `1,3,5-7` ask for, in their order.

    A text is the name of a class, or names, indices and ranges between commas. A number that is the name of a class
    stands for that class, and any other for an index. Names are compared in NFC, so that an accent may be a character
    or a mark of its own. Raises ValueError, with near names, for what is none of these.
    """
    known = {composed(name): label for label, name in enumerate(class_names)}
    labels: list[int] = []
    for text in texts:
        whole = composed(text)
        for part in [whole] if whole in known else whole.split(","):
            found = _labels(part.strip(), known)
            if not found:
                raise ValueError(f"{part!r:.80} is not possible ({_hint(part.strip(), class_names)})")
            labels += found
    return labels


def _labels(part: str, known: Mapping[str, int]) -> range:
    """The labels of a name, an index or a range, none if it is none of these."""
    if part in known:
        return range(known[part], known[part] + 1)
    bounds = INDICES.fullmatch(part)
    if not bounds:
        return range(0)
    first, last = (known.get(bound, int(bound)) for bound in (bounds[1], bounds[2] or bounds[1]))
    return range(first, last + 1) if last < len(known) else range(0)


def _hint(part: str, class_names: Sequence[str]) -> str:
    """The names nearest to a text, or what is allowed if there are none."""
    names = {composed(name).casefold(): name for name in class_names}
    near = difflib.get_close_matches(part.casefold(), names)
    if near:
        return f"near it: {', '.join(repr(names[name]) for name in near)}"
    more = len(class_names) - SHOWN_NAMES
    shown = ", ".join(map(repr, class_names[:SHOWN_NAMES])) + (f" and {more} more" if more > 0 else "")
    return f"allowed: 0-{len(class_names) - 1}, like 0 or 0,2-3, or names: {shown}"
