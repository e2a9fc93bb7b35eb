"""How results come into reports/, the folder that is in git."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from diffusion.files import whole_file

PARTIAL = ".partial"  # the ending of a file that is not complete


def publish(results: Path, reports: Path, stages: Iterable[str]) -> None:
    """Copy what these stages wrote, folders of `results`, into `reports` under the same names, file by file.

    A stage without results, as in a clone without DVC's cache, keeps what is published of it. What a killed process
    left of a file stays behind. Raises OSError for a stage of which neither is there.
    """
    for stage in stages:
        folder = reports / stage
        if folder.exists() and not (results / stage).exists():
            continue
        sources = [path for path in sorted((results / stage).iterdir()) if path.suffix != PARTIAL]
        for source in sources:
            with whole_file(folder / source.name) as partial:
                shutil.copyfile(source, partial)
        for name in {path.name for path in folder.iterdir() if path.suffix != PARTIAL} - {
            path.name for path in sources
        }:
            (folder / name).unlink()
