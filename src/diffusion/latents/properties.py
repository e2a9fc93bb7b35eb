"""What captions say of an image beside its class: three properties that are measured, and the words for their grades.

Strokes have a thickness, a slant and a width; any other image has a colour or a lightness, and a subject that fills
some of it and is more or less symmetric.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from diffusion.latents import strokes, subjects

OF_STROKES = ("mnist5k", "mnist", "kmnist", "emnist_letters", "digits")  # data sets of bright strokes on black


class Property(NamedTuple):
    """The words for the three grades of a property, from the lowest third of a class to its highest."""

    adjectives: tuple[str, str, str]  # before the class
    clauses: tuple[str, str, str]  # after it
    paraphrases: tuple[tuple[str, ...], ...]  # other adjectives, which `meanings` is fitted to
    unheard: tuple[tuple[str, ...], ...]  # words that nothing is fitted to, to see whether a language model has them


class Kind(NamedTuple):
    """Three properties, and what measures them: images (N, C, H, W) to values (N, 3)."""

    properties: dict[str, Property]
    measure: Callable[[Tensor], Tensor]


def kind_of(chosen: str, of_strokes: bool, channels: int) -> str:
    """The name of the kind for `captions.properties`: auto (strokes where the data set has them), strokes or image."""
    if chosen == "strokes" or (chosen == "auto" and of_strokes):
        return "strokes"
    return "colour" if channels == 3 else "lightness"


THICKNESS = Property(
    ("thin", "medium", "thick"),
    ("with thin strokes", "with medium strokes", "with thick strokes"),
    (
        ("fine", "lean", "wispy", "spindly", "scrawny", "slight", "delicate", "light"),
        ("moderate", "average", "intermediate"),
        ("heavy", "fat", "chunky", "beefy", "stocky", "bulky", "dense", "strong"),
    ),
    (("slim", "skinny", "slender"), ("middling",), ("bold", "stout", "hefty")),
)
SLANT = Property(
    ("left-leaning", "upright", "right-leaning"),
    ("slanted to the left", "standing upright", "slanted to the right"),
    (
        ("left-slanting", "left-tilted", "leftward", "left-sloping", "reclining", "rearward-tilted"),
        ("vertical", "straight", "perpendicular", "plumb"),
        ("right-slanting", "right-tilted", "rightward", "right-sloping", "italic", "ahead-tilted"),
    ),
    (("backward-leaning", "tipped-left"), ("erect", "unslanted"), ("forward-leaning", "tipped-right")),
)
WIDTH = Property(
    ("narrow", "regular", "wide"),
    ("drawn narrow", "drawn regular", "drawn wide"),
    (
        ("tight", "squeezed", "constricted", "pinched", "close"),
        ("normal", "ordinary", "typical", "common", "conventional"),
        ("broad", "roomy", "stretched", "ample", "sprawling", "spread"),
    ),
    (("compressed", "condensed", "cramped"), ("usual", "standard"), ("spacious", "expanded", "extended")),
)
LIGHTNESS = Property(
    ("dark", "grey", "bright"),
    ("in dark tones", "in grey tones", "in bright tones"),
    (
        ("shadowy", "dusky", "sombre", "blackish"),
        ("ashen", "greyish", "smoky"),
        ("radiant", "shining", "dazzling", "light"),
    ),
    (("dim", "murky", "gloomy"), ("half-lit",), ("luminous", "pale", "brilliant")),
)
COLOUR = Property(
    ("cool", "neutral", "warm"),
    ("in cool colours", "in neutral colours", "in warm colours"),
    (("cold", "bluish", "wintry", "polar"), ("beige", "plain", "subdued"), ("hot", "reddish", "toasty", "summery")),
    (("chilly", "icy", "frosty"), ("muted",), ("fiery", "sunny", "glowing")),
)
SIZE = Property(
    ("small", "medium", "large"),
    ("of small size", "of medium size", "of large size"),
    (
        ("little", "petite", "minute", "puny"),
        ("moderate", "average", "intermediate"),
        ("big", "massive", "vast", "immense"),
    ),
    (("tiny", "compact", "mini"), ("middling",), ("huge", "giant", "enormous")),
)
SYMMETRY = Property(
    ("lopsided", "uneven", "symmetric"),
    ("of lopsided shape", "of uneven shape", "of symmetric shape"),
    (
        ("skewed", "unbalanced", "askew", "off-centre"),
        ("unequal", "rough", "inexact"),
        ("balanced", "even", "mirrored", "matching"),
    ),
    (("asymmetrical", "crooked"), ("imperfect",), ("symmetrical", "regular")),
)

KINDS = {
    "strokes": Kind({"thickness": THICKNESS, "slant": SLANT, "width": WIDTH}, strokes.measure),
    "lightness": Kind({"lightness": LIGHTNESS, "size": SIZE, "symmetry": SYMMETRY}, subjects.measure),
    "colour": Kind({"colour": COLOUR, "size": SIZE, "symmetry": SYMMETRY}, subjects.measure),
}
