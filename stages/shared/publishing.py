"""How results come into reports/, the folder that is in git."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from diffusion.files import whole_file


def publish(results: Path, reports: Path, stages: Iterable[str]) -> None:
    """Copy what these stages wrote, folders of `results`, into `reports` under the same names, file by file.

    What a killed process left of a file stays behind. Raises OSError for a stage that has no results.
    """
    for stage in stages:
        sources = [path for path in sorted((results / stage).iterdir()) if path.suffix != ".partial"]
        shutil.rmtree(reports / stage, ignore_errors=True)
        for source in sources:
            with whole_file(reports / stage / source.name) as partial:
                shutil.copyfile(source, partial)
