"""Tables, records and pictures that stages and studies wrote, and what a page draws of them."""

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from diffusion.choices import DATA_SETS
from report.content import Picture

NAMES = (
    "class",
    "actual",
    "predicted",
    "sampler",
    "schedule",
    "subset",
    "mixture",
    "kind",
    "model",
    "bound",
    "recognised",
)
FIGURES = "figures"
MNIST = ("mnist", "mnist5k")  # data sets whose images are those of MNIST
SHORT_DIGEST = 12  # characters of a model's digest that pages show and links carry


class Model(NamedTuple):
    """Which model figures belong to: the first digits of its file's SHA-256, and how it was trained."""

    digest: str
    schedule: str
    timesteps: int
    target: str
    steps: int


@dataclass(frozen=True)
class Reports:
    """What `page` reads: the results of stages, and what is published in a folder of reports, by the same names.

    A missing file raises OSError, a damaged one ValueError. Every text that comes out of it is `literal`.
    """

    folder: Path  # of reports: pages, results that a page has published, results of studies
    page: str  # whose own pictures lie in a folder of their own
    results: Path  # of the stages, read first: another page's may have been published from an earlier run

    def __contains__(self, name: str) -> bool:
        return self.path(name).exists()

    def path(self, name: str) -> Path:
        """Where a file or folder of this name is read from."""
        result = self.results / name
        return result if result.exists() else self.folder / name

    def record(self, name: str) -> dict[str, Any]:
        """A JSON object."""
        path = self.path(name)
        try:
            content = json.loads(literal(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: not valid JSON ({error}); run its stage again") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: holds a {type(content).__name__}, not an object; run its stage again")
        return content

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file; names of classes and samplers stay text, an empty field is NaN."""
        path = self.path(name)
        try:
            text = literal(path.read_text(encoding="utf-8"))
            return pd.read_csv(
                io.StringIO(text), dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""]
            )
        except ValueError as error:
            raise ValueError(f"{path}: not a valid table ({error}); run its stage again") from error

    def model(self, name: str) -> Model:
        """The record of a model (JSON)."""
        content = self.record(name)
        missing = [key for key in ("sha256", *Model._fields[1:]) if key not in content]
        if missing:
            raise ValueError(f"{self.path(name)}: {missing[0]} is missing; run its stage again")
        return Model(str(content["sha256"])[:SHORT_DIGEST], *(content[key] for key in Model._fields[1:]))

    def tiles(self, name: str, rows: int, columns: int, gap: int = 2) -> np.ndarray:
        """The pictures (R, K, H, W) or (R, K, H, W, 3), uint8, of a bare sheet with `gap` pixels between them."""
        with Image.open(self.path(name)) as sheet:
            pixels = np.asarray(sheet)
        height, width = ((size + gap) // count for size, count in zip(pixels.shape, (rows, columns), strict=False))
        padded = np.pad(pixels, [(0, gap), (0, gap), *[(0, 0)] * (pixels.ndim - 2)])
        tiles = padded.reshape(rows, height, columns, width, *pixels.shape[2:]).swapaxes(1, 2)
        return tiles[:, :, : height - gap, : width - gap]

    def noun(self) -> str:
        """What one image of the data set shows: a digit, a garment; `image` where that is not known."""
        data_set = DATA_SETS.get(self.record("data/card.json")["dataset"])
        return data_set.noun if data_set else "image"

    def is_mnist(self) -> bool:
        """Whether the images are MNIST's, to which published figures of MNIST can be compared."""
        return self.record("data/card.json")["dataset"] in MNIST

    def class_names(self) -> list[str]:
        """The names of the classes in the order of their labels."""
        return self.table("data/counts.csv")["class"].tolist()

    def columns_of(self, sheet: str, rows: int, gap: int = 2) -> int:
        """The number of columns of a bare sheet with so many rows of square pictures."""
        width, height = png_size(self.path(sheet))
        return round((width + gap) * rows / (height + gap))

    def figure(self, name: str) -> Path:
        """Where the page's own picture `name` is to be drawn."""
        return self.folder / FIGURES / self.page / name

    def drawn(self, name: str, caption: str, alt: str) -> Picture:
        """The page's own picture `name`, once it is drawn."""
        return self.picture(f"{FIGURES}/{self.page}/{name}", caption, alt)

    def picture(self, name: str, caption: str, alt: str) -> Picture:
        """A PNG as a block of the page."""
        return Picture(name, *png_size(self.path(name)), caption, alt)


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested params with dotted keys, in their order."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def literal(text: str) -> str:
    """Text from outside with another character for the backtick, which marks `code` on the page."""
    return text.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")


def png_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from the header. Raises ValueError where the file is no PNG."""
    with path.open("rb") as file:
        header = file.read(24)
    if len(header) < 24 or header[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path}: not a PNG picture; run its stage again")
    return struct.unpack(">II", header[16:24])
