"""Files that are either complete or absent, whatever happens while they are written."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def _meet_nobody() -> None:
    """One process has nobody to wait for."""


_first: bool = True  # whether this process writes,
_meet: Callable[[], None] = _meet_nobody  # and how it waits for the others that write the same


@contextmanager
def written_by_first(first: bool, meet: Callable[[], None]) -> Iterator[None]:
    """In the block, of several processes that go through the same program the `first` writes; they `meet` after every
    file, so that all can read it."""
    global _first, _meet
    before, (_first, _meet) = (_first, _meet), (first, meet)
    try:
        yield
    finally:
        _first, _meet = before


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, `NAME.partial` beside `path`; the file gets its name once the block has ended and all of it
    is on disk.

    A block that is interrupted, or that raises, leaves what it wrote under that other name, which the next one
    overwrites. Raises OSError that names `path` if the file itself cannot be written, and then leaves nothing.

    In a process that is not the first of several (see `written_by_first`) it is a path in a folder that is thrown away.
    """
    if _first:
        with _whole_file(path) as partial:
            yield partial
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, path.name)
    _meet()


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) != partial:  # another file's, written by the same block
            raise
        with suppress(OSError):
            partial.unlink()
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8. Raises OSError as `whole_file` does."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
