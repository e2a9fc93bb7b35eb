"""Downloads of data sets: a folder to download to, and one line about what goes wrong.

What is downloaded is checked by its MD5, which torchvision or the authors' page states, before anything else is done
with it, and moved to its place once all of it is there.
"""

import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

TIMEOUT_SECONDS = 60


@contextmanager
def download_folder(root: Path, missing: str) -> Iterator[Path]:
    """A folder on the disk of `root` to download to; it is gone after the block, with all that was not moved.

    Raises ValueError, one line, for what network or disk do not give in the block; `missing` is what `root` has not.
    """
    timeout = socket.getdefaulttimeout()
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as folder:
            yield Path(folder)
    except (OSError, RuntimeError, HTTPException) as error:
        last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
        reason = re.sub(r"\S+://\S+|[<>]", "", last_line)
        raise ValueError(
            f"data.root: {str(root)!r} has no {missing}, and the download failed ({reason}); "
            "put them there, or set data.dataset to mnist5k, which needs no network"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def move_all(names: Iterable[str], source: Path, target: Path) -> None:
    """Move files of these names from one folder to another, which is made if it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.replace(source / name, target / name)
