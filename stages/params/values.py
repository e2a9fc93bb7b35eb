"""Kinds of values that keys of params have: what each accepts on its own.

Lower bounds are those of the mathematics. Upper bounds stand where nothing useful lies beyond: a larger value is a slip
that would fill the memory or run for months.
"""

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from diffusion.choices import EXTRACTORS
from diffusion.names import fits_a_table
from stages.params.sizes import AUTO

TORCHVISION = re.compile(r"torchvision:[a-z0-9_]{1,40}")


def _distinct(values: list[Any]) -> list[Any]:
    """Tables and pictures show six digits, so values that agree in these would look the same."""
    if len({f"{value + 0:.6g}" if isinstance(value, float) else value for value in values}) < len(values):
        raise ValueError("every value once, compared by six digits")
    return values


def _printable(text: str) -> str:
    if not fits_a_table(text):
        raise ValueError("characters that can be printed")
    return text


def _no_word(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"a list of widths, or {AUTO!r}")
    return value


def one_of(*allowed: str | int, or_else: str | None = None) -> BeforeValidator:
    """A choice among values of one type: True does not count as 1. `or_else` is what a file may have in its place."""

    def chosen(value: object) -> object:
        if type(value) is not type(allowed[0]) or value not in allowed:
            raise ValueError(", ".join(map(repr, [*allowed, *filter(None, [or_else])])))
        return value

    return BeforeValidator(chosen)


def _extractor(name: object) -> object:
    """Which networks torchvision has is for the stage to say, since params are read without it."""
    if not isinstance(name, str) or not (name in EXTRACTORS or TORCHVISION.fullmatch(name)):
        raise ValueError(f"{', '.join(map(repr, EXTRACTORS))}, 'torchvision:NAME'")
    return name


def _seed(value: object) -> object:
    if value != AUTO and (type(value) is not int or not 0 <= value < 2**63):
        raise ValueError(f"whole numbers from 0 to 2**63 - 1, {AUTO!r}")
    return value


IMAGE_SIZES = range(4, 257)  # pixels
Seed = Annotated[int, Field(ge=0, lt=2**63)]
TrainingSeed = Annotated[int | str, BeforeValidator(_seed)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]  # of a training
Timesteps = Annotated[int, Field(ge=1, le=100_000)]  # of a chain, or a sampler's steps along it
Images = Annotated[int, Field(ge=1, le=1_000_000)]
JudgedImages = Annotated[Images, Field(ge=4)]  # KID needs four
Limit = Annotated[int, Field(ge=0, le=100_000_000)]
Batch = Annotated[int, Field(ge=1, le=65_536)]
Width = Annotated[int, Field(ge=1, le=4096)]
Patch = Annotated[int, one_of(1, 2, 4, or_else=AUTO)]
Few = Annotated[int, Field(ge=1, le=1000)]
Blocks = Annotated[int, Field(ge=1, le=100)]
Number = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]  # representable in fp32
Positive = Annotated[Number, Field(gt=0)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Tolerance = Annotated[Number, Field(ge=1e-6, le=0.1)]  # the arithmetic is fp32
Extractor = Annotated[str, BeforeValidator(_extractor)]
Folder = Annotated[str, AfterValidator(_printable)]
Value = TypeVar("Value")
Distinct = Annotated[list[Value], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
Scale = Annotated[Number, Field(ge=0, le=1000)]  # of guidance
Scales = Distinct[Scale]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]  # of log-SNR
MultipleOf8 = Annotated[Width, Field(ge=8, multiple_of=8)]
Widths = Annotated[list[MultipleOf8], Field(min_length=1, max_length=8), BeforeValidator(_no_word)]
