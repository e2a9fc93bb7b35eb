"""CIFAR-10 (Krizhevsky 2009) in its binary version: the version for Python is a pickle, which is never loaded."""

import shutil
import tarfile
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset
from diffusion.files import whole_file
from diffusion.sources.checks import refuse_large, refuse_link_out
from diffusion.sources.contents import Contents, Watch
from diffusion.sources.download import download_folder, move_all

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"  # of the archive, and below data.root
FILES = (tuple(f"data_batch_{k}.bin" for k in range(1, 6)), ("test_batch.bin",))
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as the authors' page states it
SIZE = 32
RECORD_BYTES = 1 + 3 * SIZE**2  # a label, then the image, channel by channel


def read_cifar10(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    """The 60,000 images from root/cifar-10-batches-bin, with their own split."""
    names = [name for part in FILES for name in part]
    if not all((root / FOLDER / name).is_file() for name in names):
        _download(root, names)
    parts = []
    for files in FILES:
        records = [_records(root / FOLDER / name, root) for name in files]
        images = torch.cat([record[:, 1:] for record in records]).view(-1, 3, SIZE, SIZE)
        parts.append(Dataset(images, torch.cat([record[:, 0] for record in records]).long(), CLASSES))
    return Contents(parts)


def _records(path: Path, root: Path) -> Tensor:
    """Labels and pixels (N, 3073) uint8 of a file. Raises ValueError if it holds anything else."""
    refuse_link_out(path, root)
    try:
        refuse_large(path)
        data = bytearray(path.read_bytes())
        if not data or len(data) % RECORD_BYTES:
            raise ValueError(f"{len(data):,} bytes, which are not images of {RECORD_BYTES:,} bytes each")
        records = torch.frombuffer(data, dtype=torch.uint8).view(-1, RECORD_BYTES)
        if records[:, 0].max() >= len(CLASSES):
            raise ValueError(f"a label of {records[:, 0].max()}, above {len(CLASSES) - 1}")
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: damaged, or no binary batch of CIFAR-10 (remove it to download again): {error}"
        ) from error
    return records


def _download(root: Path, names: list[str]) -> None:
    from torchvision.datasets.utils import download_url

    with download_folder(root, f"{FOLDER} with the six files of CIFAR-10's binary version") as folder:
        download_url(URL, folder, "archive.tar.gz", MD5)
        with tarfile.open(folder / "archive.tar.gz") as archive:
            for name in names:
                member = archive.extractfile(f"{FOLDER}/{name}")
                assert member is not None  # the archive is the one that was expected
                with member, whole_file(folder / name) as partial, open(partial, "wb") as file:
                    shutil.copyfileobj(member, file)
        move_all(names, folder, root / FOLDER)
