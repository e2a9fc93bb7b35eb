"""A folder of images of one's own: a folder for each class, or such folders in train/ and test/."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from diffusion.data import Dataset
from diffusion.lanes import in_lanes
from diffusion.mapping import scratch
from diffusion.names import composed, fits_a_table, shown
from diffusion.sources.contents import Contents, Watch
from diffusion.sources.image_file import read_image

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there
LITTER = {  # what systems leave in folders, beside hidden files
    "__macosx",
    "$recycle.bin",
    "@eadir",
    "desktop.ini",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "icon\r",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
CHUNK = 16  # files that a lane reads at a time: their sizes differ, and a lane waits for one that is far behind
TOLD = 10  # files or folders that one message names


class Part(NamedTuple):
    """The files of one split, or of all: class by class, the labels being indices of `class_names`."""

    class_names: tuple[str, ...]
    files: list[Path]
    labels: list[int]
    skipped: int


def read_folder(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    """The images below `root`, (N, C, image_size, image_size), in the order of the names of classes and files.

    Train and test folders with the same classes are the split, a validation folder only without a test folder. Raises
    ValueError, one line, that names all classes or files of one kind that cannot be read, or the first ten.
    """
    if not root.is_dir():
        raise ValueError(
            f"data.root: {shown(root)!r} is not a folder (data.dataset: folder expects one folder per class in it)"
        )
    folders, skipped = _split_folders(root)
    parts = [_part(folder, fewest=2 if len(folders) == 1 else 1) for folder in folders]
    names = parts[0].class_names
    for folder, part in zip(folders, parts, strict=True):
        if different := set(names).symmetric_difference(part.class_names):
            raise ValueError(
                f"data.root: classes in only one of {folders[0].name} and {folder.name}: {_first(sorted(different))} "
                "(allowed: the same classes in both)"
            )
    images = _read_all([file for part in parts for file in part.files], image_size, channels, watch)
    split = images.split([len(part.files) for part in parts])
    labels = [torch.tensor(part.labels) for part in parts]
    datasets = [Dataset(*pair, names) for pair in zip(split, labels, strict=True)]
    return Contents(datasets, skipped + sum(part.skipped for part in parts))


def _split_folders(root: Path) -> tuple[list[Path], int]:
    """[train, test] if `root` has a train folder with folders in it, else [root]; and the number of files beside them.

    Raises ValueError if there is nothing to test on.
    """
    entries, skipped = _entries(root)
    by_name = {entry.name.casefold(): entry for entry in entries if entry.is_dir() and not entry.is_symlink()}
    train = next((by_name[name] for name in TRAIN if name in by_name), None)
    if train is None or not any(entry.is_dir() for entry in _entries(train)[0]):
        return [root], 0  # which _part counts
    test = next((by_name[name] for name in TEST if name in by_name), None)
    if test is None:
        raise ValueError(
            f"data.root: {shown(train)!r} has folders of classes, but no folder test or val is beside it (to have it "
            f"split, set data.root to it)"
        )
    beside = [entry for entry in entries if entry not in (train, test)]
    return [train, test], skipped + sum(_number_of_files(entry) for entry in beside)


def _number_of_files(entry: Path) -> int:
    return sum(file.is_file() for file in entry.rglob("*")) if entry.is_dir() else 1


def _part(root: Path, fewest: int) -> Part:
    """The class folders in `root` and their files. Raises ValueError, one line, for folders that cannot be classes."""
    entries, skipped = _entries(root)
    folders = [entry for entry in entries if entry.is_dir()]
    classes = _named(folders)
    if len(classes) < 2:
        raise ValueError(
            f"data.root: {shown(root)!r} has {len(classes)} class folders (at least 2 are needed, directly in it)"
        )
    part = Part(tuple(classes), [], [], skipped + len(entries) - len(folders))
    small = []
    for label, folder in enumerate(classes.values()):
        files, hidden = ([], 0) if folder.is_symlink() else _entries(folder)
        if len(files) < fewest:
            small.append(shown(folder))
        part.files.extend(files)
        part.labels.extend([label] * len(files))
        part = part._replace(skipped=part.skipped + hidden)
    if small:
        raise ValueError(
            f"{_first(small)}: a link, or fewer than {fewest} images (every class needs one in each split)"
        )
    return part


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Class folders by the names of their classes, sorted: composed, and without spaces around them.

    Raises ValueError for names that no table can hold, and for two that are the same.
    """
    classes: dict[str, Path] = {}
    for folder in folders:
        name = composed(folder.name).strip()
        if not name or not fits_a_table(folder.name):
            raise ValueError(
                f"{shown(folder.parent)}: holds the class folder {folder.name!r} (allowed: names of characters that "
                "can be printed)"
            )
        if name in classes:
            raise ValueError(
                f"{shown(folder.parent)}: the class folders {ascii(classes[name].name)} and {ascii(folder.name)} are "
                "one name (allowed: names that differ in more than spaces around them or composed accents)"
            )
        classes[name] = folder
    return dict(sorted(classes.items()))


def _entries(folder: Path) -> tuple[list[Path], int]:
    """What is in a folder, sorted, except for hidden files and what systems leave there; and the number of these."""
    names = sorted(os.listdir(folder), key=lambda name: (composed(name), name))
    shown_names = [name for name in names if not name.startswith(".") and name.casefold() not in LITTER]
    return [folder / name for name in shown_names], len(names) - len(shown_names)


def _read_all(files: Sequence[Path], image_size: int, channels: int, watch: Watch) -> Tensor:
    """All images (N, C, image_size, image_size), decoded side by side. Raises ValueError about all that cannot be."""
    images = scratch((len(files), channels, image_size, image_size))

    def read(chunk: list[tuple[int, Path]]) -> list[str]:
        """Put images in their places; what is wrong with those that cannot be read."""
        return [*filter(None, (_read_or_say(file, images[k]) for k, file in chunk))]

    with _mended_files_in_silence():
        chunks = _chunks(enumerate(watch(files)))
        bad = [*chain.from_iterable(in_lanes(read, chunks, -(-len(files) // CHUNK), images.device))]
    if len(bad) == 1:
        raise ValueError(bad[0])
    if bad:
        raise ValueError(f"data.root: {len(bad):,} of {len(files):,} images cannot be read: {_first(bad, '; ')}")
    return images


def _chunks(files: Iterable[tuple[int, Path]]) -> Iterator[list[tuple[int, Path]]]:
    rest = iter(files)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _read_or_say(file: Path, image: Tensor) -> str:
    """Read a file into its place (C, S, S); what is wrong with it, or nothing."""
    channels, _, image_size = image.shape
    try:
        image.copy_(read_image(file, image_size, channels))
    except ValueError as error:
        return str(error)
    return ""


def _first(texts: Sequence[str], between: str = ", ") -> str:
    """The first few of many, in one line."""
    more = [f"and {len(texts) - TOLD:,} more"] if len(texts) > TOLD else []
    return between.join([*texts[:TOLD], *more])


@contextmanager
def _mended_files_in_silence() -> Iterator[None]:
    """No warnings in the block of what Pillow mends, in any lane: Python's filters are those of the whole process."""
    Image.init()  # once, not in every lane
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
