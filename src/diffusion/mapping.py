"""Large tensors in files that are mapped into memory, so that they may be larger than it.

Pages of a file that were touched stay resident until the system needs them. Here they are given back: by whoever goes
through all rows, after each block of them (`blocks_of`), and every EVERY_SECONDS by a thread, for those who read a few
rows now and then. What is touched again comes back from the system's cache of files, as long as it is there.
"""

import math
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock, Thread

import torch
from torch import Tensor

LARGE = 2**28  # bytes of a tensor from which on a mapped file is better than memory
BLOCK_BYTES = 2**24  # of rows that are looked at together
AROUND_BYTES = 2**21  # that the system may make resident with a byte that is read: a huge page
EVERY_SECONDS = 0.1  # in which a training reads some thousand images

_mappings: "weakref.WeakSet[mmap.mmap]" = weakref.WeakSet()
_lock = Lock()  # a WeakSet must not change while another thread goes through it


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
    """All bytes of a file that is not empty, uint8 (N,), to be read only.

    PyTorch knows no tensor that cannot be written to, so the mapping is a private one: what is written to it never
    reaches the file, and is lost when its page is given back.
    """
    with open(path, "rb") as file:
        return _tensor(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def blocks_of(rows: Tensor) -> Iterator[Tensor]:
    """The rows (N, ...) in their order, as many at once as BLOCK_BYTES hold, at least one.

    After each block the pages of all mapped files are given back: those that it was read from or written to, and those
    that were touched meanwhile.
    """
    return _blocks(rows, BLOCK_BYTES // max(1, _row_bytes(rows)))


def rows_of(images: Tensor, indices: Tensor) -> Tensor:
    """The rows of uint8 images (N, ...) at `indices`, as `scratch` has room for them."""
    rows = scratch((len(indices), *images.shape[1:]))
    number = 4 * BLOCK_BYTES // (AROUND_BYTES + _row_bytes(rows))  # of rows that lie anywhere
    for target, chosen in zip(_blocks(rows, number), _blocks(indices, number), strict=True):
        torch.index_select(images, 0, chosen, out=target)
    return rows


def give_back() -> None:
    """Let no page of any mapped file be resident. Their contents stay: in the file, or in the system's cache of it."""
    with _lock:
        mappings = [*_mappings]
    for mapping in mappings:
        mapping.madvise(mmap.MADV_DONTNEED)


def _blocks(rows: Tensor, number: int) -> Iterator[Tensor]:
    for block in rows.split(max(1, number)):
        yield block
        give_back()


def _row_bytes(rows: Tensor) -> int:
    return math.prod(rows.shape[1:]) * rows.itemsize


def _tensor(mapping: mmap.mmap) -> Tensor:
    with _lock:
        _mappings.add(mapping)
    _start_thread()
    return torch.frombuffer(mapping, dtype=torch.uint8)


@cache
def _start_thread() -> None:
    Thread(target=_give_back_again_and_again, daemon=True, name="pages").start()


def _give_back_again_and_again() -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        give_back()
