"""What a reader of a data set is asked for, and what it gives."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from diffusion.data import Dataset

Watch = Callable[[Sequence[Path]], Iterable[Path]]  # the same files, with their progress shown, as by tqdm


class Contents(NamedTuple):
    """What a source holds: [train, test], or [pool] if it has no split; and the number of files it skipped."""

    parts: list[Dataset]
    skipped: int = 0


@dataclass(frozen=True)
class Source:
    """One data set, read by `read(root, image_size, channels, watch)`."""

    read: Callable[[Path, int, int, Watch], Contents]
    origin: str
    license: str
