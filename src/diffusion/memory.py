"""Running out of memory, which PyTorch reports in several types and words. It imports no torch: pages start with it."""

from collections.abc import Iterator
from contextlib import contextmanager

WORDS = (
    "allocate memory",  # "DefaultCPUAllocator: can't ...", and the system's "Cannot ..."
    "not enough memory",
    "out of memory",  # torch.OutOfMemoryError
    "bad_alloc",
    "STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN
)


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out, of this machine or of its GPU."""
    if isinstance(error, MemoryError):
        return True
    return not isinstance(error, ValueError) and any(words in str(error) for words in WORDS)


@contextmanager
def shortage_explained(work: str, deciding: str) -> Iterator[None]:
    """Where memory runs out in the block, raise a MemoryError of one line that names the work and what decides how much
    memory it takes ("" for nothing in particular)."""
    try:
        yield
    except Exception as error:
        if not is_shortage(error):
            raise
        hint = f" (what decides how much it takes: {deciding})" if deciding else ""
        raise MemoryError(f"{work}: out of memory{hint}") from error
