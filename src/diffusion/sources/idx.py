"""IDX files (LeCun et al. 1998), packed or not: how they are found and read."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset
from diffusion.sources.checks import MAX_FILE_BYTES, refuse_large, refuse_link_out

UNSIGNED_BYTES = 0x0800  # the magic number of an IDX file of bytes, less its number of dimensions
Pair = tuple[str, str]  # names of a file of images and of the file of their labels


def idx_file(folder: Path, name: str) -> Path | None:
    """The file of this name, with `.idx` in place of `-idx` as Kaggle has it, or packed; None where there is none."""
    names = (name, name.replace("-idx", ".idx"))
    paths = (folder / f"{found}{ending}" for ending in ("", ".gz") for found in names)
    return next((path for path in paths if path.is_file()), None)


def read_pairs(
    folder: Path, root: Path, pairs: Sequence[Pair], class_names: tuple[str, ...], first_label: int = 0
) -> list[Dataset]:
    """The images (N, 1, H, W) of every pair of files in a folder below `root`; labels count from `first_label`.

    Raises ValueError, one line, for files that are damaged or do not belong together.
    """
    parts = []
    for pair in pairs:
        images_file, labels_file = (idx_file(folder, name) or folder / name for name in pair)
        images = read_idx(images_file, 3, root)
        labels = read_idx(labels_file, 1, root).long() - first_label
        if len(images) != len(labels) or labels.min() < 0 or labels.max() >= len(class_names):
            allowed = f"{first_label} to {first_label + len(class_names) - 1}"
            raise ValueError(f"{labels_file}: not one label of {allowed} for each image in {images_file}")
        parts.append(Dataset(images.unsqueeze(1), labels, class_names))
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise ValueError(f"data.root: the training and the test images in {str(folder)!r} differ in size")
    return parts


def read_idx(path: Path, dimensions: int, root: Path) -> Tensor:
    """The bytes of an IDX file in the shape that its header states.

    Raises ValueError if its name leads out of `root`, or if magic number, header and length do not fit.
    """
    refuse_link_out(path, root)
    try:
        refuse_large(path)
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(4 + 4 * dimensions))
            size = math.prod(shape)
            if magic != UNSIGNED_BYTES + dimensions or not 0 < size <= MAX_FILE_BYTES:
                raise ValueError(f"magic number {magic:#x}, sizes {shape}")
            data = bytearray(file.read(size + 1))
        if len(data) != size:
            raise ValueError(f"{'fewer' if len(data) < size else 'more'} bytes than the sizes {shape} in its header")
    except (ValueError, OSError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged, or no IDX file of {dimensions} dimensions (remove it to download again): {error}"
        ) from error
    return torch.frombuffer(data, dtype=torch.uint8).view(shape)
