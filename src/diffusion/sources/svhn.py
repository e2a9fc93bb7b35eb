"""Street View House Numbers (Netzer et al. 2011), cropped to single digits: two MATLAB files."""

from pathlib import Path

import numpy as np
import torch

from diffusion.data import Dataset
from diffusion.sources.checks import refuse_link_out
from diffusion.sources.contents import Contents, Watch
from diffusion.sources.download import download_folder, move_all
from diffusion.sources.packaged import DIGITS

PARTS = ("train", "test")


def read_svhn(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    """The 99,289 digits from root/SVHN, with their own split.

    A file is parsed only if it is, by its MD5, the one that torchvision knows: its format can ask for any memory.
    """
    from torchvision.datasets import SVHN
    from torchvision.datasets.utils import download_url

    known = [SVHN.split_list[part] for part in PARTS]
    folder = root / "SVHN"
    missing = [entry for entry in known if not (folder / entry[1]).is_file()]
    if missing:
        with download_folder(root, f"SVHN with {' and '.join(name for _, name, _ in known)}") as partial:
            for url, name, md5 in missing:
                download_url(url, partial, name, md5)
            move_all((name for _, name, _ in missing), partial, folder)
    return Contents([_read(folder / name, root, md5) for _, name, md5 in known])


def _read(path: Path, root: Path, md5: str) -> Dataset:
    """The images X (32, 32, 3, N) of a file, as (N, 3, 32, 32), and their labels y (N, 1), in which 10 is the digit 0.

    Raises ValueError for another file than the one with this MD5.
    """
    import scipy.io
    from torchvision.datasets.utils import check_integrity

    refuse_link_out(path, root)
    if not check_integrity(path, md5):
        raise ValueError(
            f"{path}: damaged, or not this file of SVHN (remove it to download again): its MD5 is not {md5}"
        )
    found = scipy.io.loadmat(path, variable_names=("X", "y"))
    images = np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1))
    labels = torch.from_numpy(found["y"].astype(np.int64)).flatten()
    return Dataset(torch.from_numpy(images), labels % len(DIGITS), DIGITS)
