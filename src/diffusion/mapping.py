"""Large tensors in files that are mapped into memory, so that they may be larger than it.

Pages of a file that were touched stay resident until the system needs them. Here they are given back all the time, by a
thread for each mapping: what is touched again comes back from the system's cache of files, as long as it is there.
"""

import math
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor

LARGE = 2**28  # bytes of a tensor from which on a mapped file is better than memory
EVERY_SECONDS = 0.1  # a disk reads some hundred megabytes in the meantime


def scratch(shape: Sequence[int]) -> Tensor:
    """An uninitialised uint8 tensor: in memory, or if it is LARGE, in a file without a name that ends with it.

    The file is in the system's folder for temporary files (TMPDIR). Raises OSError where it has no room.
    """
    size = math.prod(shape)
    if size < LARGE:
        return torch.empty(*shape, dtype=torch.uint8)
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # or a full disk would kill the process later
        except OSError as error:
            raise OSError(error.errno, error.strerror, folder) from error
        return _tensor(mmap.mmap(file.fileno(), size)).view(*shape)


def bytes_of(path: Path) -> Tensor:
    """All bytes of a file that is not empty, uint8 (N,). What is written to them stays in memory."""
    with open(path, "rb") as file:
        return _tensor(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def rows_of(images: Tensor, indices: Tensor, block: int = 1024) -> Tensor:
    """The rows of uint8 images (N, ...) at `indices`, as `scratch` has room for them."""
    rows = scratch((len(indices), *images.shape[1:]))
    for target, chosen in zip(rows.split(block), indices.split(block), strict=True):
        torch.index_select(images, 0, chosen, out=target)
    return rows


def _tensor(mapping: mmap.mmap) -> Tensor:
    Thread(target=_give_back, args=(weakref.ref(mapping),), daemon=True, name="pages").start()
    return torch.frombuffer(mapping, dtype=torch.uint8)


def _give_back(reference: "weakref.ref[mmap.mmap]") -> None:
    while (mapping := reference()) is not None:
        mapping.madvise(mmap.MADV_DONTNEED)  # of pages of a file: what was written to them is in the file
        del mapping
        time.sleep(EVERY_SECONDS)
