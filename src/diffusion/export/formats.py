"""What a format is: a row of the table in `export.table`."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from diffusion.denoiser import Denoiser
from diffusion.tensors import Description


class Format(NamedTuple):
    """How a format is written, and what its users are told."""

    write: Callable[[Denoiser, Description, Path], None]  # (denoiser, its description, folder, which it may make)
    summary: str  # one line for --help
    use: str  # Markdown for the model card: how to load it and make images
