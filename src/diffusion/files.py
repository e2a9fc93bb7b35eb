"""Files that are either complete or absent, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, `NAME.partial` beside `path`; the file gets its name once the block has ended and all of it
    is on disk.

    A block that is interrupted, or that raises, leaves what it wrote under that other name, which the next one
    overwrites. Raises OSError that names `path` if the file itself cannot be written, and then leaves nothing.
    """
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
