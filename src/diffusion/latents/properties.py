"""What captions say of an image beside its class: three properties that are measured, and the words for their grades.

Strokes have a thickness, a slant and a width; any other image has a colour or a lightness, and a subject that fills
some of it and is more or less symmetric.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from diffusion.latents import strokes, subjects

OF_STROKES = ("mnist5k", "mnist", "kmnist", "digits")  # data sets of bright strokes on black


class Property(NamedTuple):
    """The words for the three grades of a property, from the lowest third of a class to its highest."""

    adjectives: tuple[str, str, str]  # before the class
    clauses: tuple[str, str, str]  # after it
    others: tuple[tuple[str, ...], ...]  # more adjectives of each grade, with `captions.words: many`
    unheard: tuple[tuple[str, ...], ...]  # and some that no caption ever has, which a language model should understand

    def adjective(self, grade: int, chance: float) -> str:
        """One of the adjectives of a grade, all equally likely for a chance from 0 up to 1."""
        every = (self.adjectives[grade], *self.others[grade])
        return every[int(chance * len(every))]


class Kind(NamedTuple):
    """Three properties, and what measures them: images (N, C, H, W) to values (N, 3)."""

    properties: dict[str, Property]
    measure: Callable[[Tensor], Tensor]


def properties_of(kind: str, words: str) -> dict[str, Property]:
    """The properties of one of KINDS with `few` adjectives, one for each grade, or `many`."""
    properties = KINDS[kind].properties
    return properties if words == "many" else {name: part._replace(others=FEW) for name, part in properties.items()}


def kind_of(chosen: str, of_strokes: bool, channels: int) -> str:
    """The name of the kind for `captions.properties`: auto (strokes where the data set has them), strokes or image."""
    if chosen == "strokes" or (chosen == "auto" and of_strokes):
        return "strokes"
    return "colour" if channels == 3 else "lightness"


THICKNESS = Property(
    ("thin", "medium", "thick"),
    ("with thin strokes", "with medium strokes", "with thick strokes"),
    (
        (
            "fine",
            "light",
            "delicate",
            "wispy",
            "feathery",
            "lean",
            "spindly",
            "faint",
            "flimsy",
            "scrawny",
            "fragile",
            "threadlike",
        ),
        ("moderate", "average", "intermediate", "fair", "mean", "midsize"),
        (
            "heavy",
            "fat",
            "chunky",
            "dense",
            "massive",
            "solid",
            "strong",
            "bulky",
            "plump",
            "meaty",
            "burly",
            "weighty",
        ),
    ),
    (("slim", "skinny", "slender"), ("middling",), ("bold", "stout", "hefty")),
)
SLANT = Property(
    ("left-leaning", "upright", "right-leaning"),
    ("slanted to the left", "standing upright", "slanted to the right"),
    (
        ("left-slanting", "left-tilting", "left-sloping", "leftward", "left-bent", "left-angled", "left-pointing"),
        ("straight", "vertical", "perpendicular", "level", "unbent", "aligned", "steady", "plumb"),
        (
            "right-slanting",
            "right-tilting",
            "right-sloping",
            "rightward",
            "right-bent",
            "right-angled",
            "right-pointing",
        ),
    ),
    (("backward-leaning", "tipped-left"), ("erect", "unslanted"), ("forward-leaning", "tipped-right")),
)
WIDTH = Property(
    ("narrow", "regular", "wide"),
    ("drawn narrow", "drawn regular", "drawn wide"),
    (
        (
            "tight",
            "squeezed",
            "pinched",
            "close",
            "compact",
            "contracted",
            "confined",
            "shrunken",
            "squashed",
            "constricted",
            "slight",
        ),
        ("normal", "ordinary", "typical", "common", "conventional", "plain", "everyday"),
        (
            "broad",
            "stretched",
            "roomy",
            "ample",
            "sprawling",
            "outspread",
            "vast",
            "large",
            "open",
            "loose",
            "generous",
        ),
    ),
    (("compressed", "condensed", "cramped"), ("usual", "standard"), ("spacious", "expanded", "extended")),
)
LIGHTNESS = Property(
    ("dark", "grey", "bright"),
    ("in dark tones", "in grey tones", "in bright tones"),
    (
        ("black", "shadowy", "blackish", "sombre", "dusky", "inky", "unlit", "shaded", "deep"),
        ("medium-grey", "greyish", "mid-toned", "ashen", "half-bright", "slate", "leaden"),
        ("light", "white", "whitish", "shining", "radiant", "blazing", "vivid", "lit", "snowy"),
    ),
    (("dim", "murky", "gloomy"), ("half-lit",), ("luminous", "pale", "brilliant")),
)
COLOUR = Property(
    ("cool", "neutral", "warm"),
    ("in cool colours", "in neutral colours", "in warm colours"),
    (
        ("blue", "cold", "bluish", "azure", "aquatic", "wintry", "freezing", "sea-blue", "cyan", "turquoise"),
        ("plain", "subdued", "toned-down", "beige", "colourless"),
        ("red", "hot", "reddish", "orange", "yellow", "golden", "burning", "sunlit", "summery", "amber"),
    ),
    (("chilly", "icy", "frosty"), ("muted",), ("fiery", "sunny", "glowing")),
)
SIZE = Property(
    ("small", "medium", "large"),
    ("of small size", "of medium size", "of large size"),
    (
        ("little", "short", "minute", "petite", "slight", "miniature", "undersized", "dwarfish", "baby"),
        ("moderate", "average", "intermediate", "midsize", "ordinary", "fair"),
        ("big", "great", "massive", "vast", "immense", "oversized", "towering", "colossal", "sizeable"),
    ),
    (("tiny", "compact", "mini"), ("middling",), ("huge", "giant", "enormous")),
)
SYMMETRY = Property(
    ("lopsided", "uneven", "symmetric"),
    ("of lopsided shape", "of uneven shape", "of symmetric shape"),
    (
        ("one-sided", "skewed", "unbalanced", "askew", "slanted", "tilted", "off-centre", "oblique"),
        ("irregular", "rough", "inexact", "unequal", "mismatched", "bumpy"),
        ("mirrored", "even", "balanced", "two-sided", "centred", "equal-sided", "harmonious", "uniform"),
    ),
    (("asymmetrical", "crooked"), ("imperfect",), ("symmetrical", "regular")),
)
FEW: tuple[tuple[str, ...], ...] = ((), (), ())


KINDS = {
    "strokes": Kind({"thickness": THICKNESS, "slant": SLANT, "width": WIDTH}, strokes.measure),
    "lightness": Kind({"lightness": LIGHTNESS, "size": SIZE, "symmetry": SYMMETRY}, subjects.measure),
    "colour": Kind({"colour": COLOUR, "size": SIZE, "symmetry": SYMMETRY}, subjects.measure),
}
