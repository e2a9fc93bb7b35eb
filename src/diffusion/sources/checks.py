"""What is asked of every file from outside before it is read, so that reading it takes bounded memory."""

from pathlib import Path

MAX_FILE_BYTES = 2**28  # of a file, packed or not: the largest of the sets here has 225 million


def refuse_large(path: Path) -> None:
    """Raises ValueError, which does not name the file, if it is larger than any that is read here."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size:,} bytes (allowed: up to {MAX_FILE_BYTES:,})")


def refuse_link_out(path: Path, root: Path) -> None:
    """Raises ValueError if the name of a file leads out of `root`."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path}: a link that leaves data.root (put the file there, or set data.root to its folder)")
