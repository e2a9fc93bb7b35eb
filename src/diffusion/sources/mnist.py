"""MNIST and its relatives: IDX files below `data.root`, downloaded where they are missing."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from diffusion.files import whole_file
from diffusion.sources.contents import Contents, Watch
from diffusion.sources.download import download_folder, move_all
from diffusion.sources.idx import idx_file, read_pairs

FILES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
LETTER_FILES = (
    ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
    ("emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte"),
)


def read_mnist(
    kind: str, class_names: tuple[str, ...], root: Path, image_size: int, channels: int, watch: Watch
) -> Contents:
    """The data set that torchvision calls `kind`, from root/kind/raw, with its own split."""
    raw = root / kind / "raw"
    if not all(idx_file(raw, name) for pair in FILES for name in pair):
        import torchvision.datasets

        with download_folder(root, f"{kind}/raw with the four IDX files") as folder:
            getattr(torchvision.datasets, kind)(folder, download=True)
            move_all((name for pair in FILES for name in pair), folder / kind / "raw", raw)
    return Contents(read_pairs(raw, root, FILES, class_names))


def read_letters(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    """EMNIST's letters from root/EMNIST/raw, small and capital ones in one class, with their own split.

    Their files hold every image with rows and columns exchanged, and count the labels from 1.
    """
    raw = root / "EMNIST" / "raw"
    if not all(idx_file(raw, name) for pair in LETTER_FILES for name in pair):
        _download_letters(root, raw)
    parts = read_pairs(raw, root, LETTER_FILES, LETTERS, first_label=1)
    return Contents([replace(part, images=part.images.transpose(2, 3).contiguous()) for part in parts])


def _download_letters(root: Path, raw: Path) -> None:
    """Take the four packed files from the archive of all of EMNIST, which has half a gigabyte."""
    from torchvision.datasets import EMNIST
    from torchvision.datasets.utils import download_url

    packed = [f"{name}.gz" for pair in LETTER_FILES for name in pair]
    with download_folder(root, "EMNIST/raw with the four IDX files of the letters") as folder:
        download_url(EMNIST.url, folder, "gzip.zip", EMNIST.md5)
        with zipfile.ZipFile(folder / "gzip.zip") as archive:
            for name in packed:
                with (
                    archive.open(f"gzip/{name}") as member,
                    whole_file(folder / name) as partial,
                    open(partial, "wb") as file,
                ):
                    shutil.copyfileobj(member, file)
        move_all(packed, folder, raw)
