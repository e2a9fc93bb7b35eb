"""`make reproducible`: the smoke preset twice from nothing, in two clones; every output must be equal byte for byte.

Measured times differ: those of the first run are copied into the second, whose pages are then drawn again.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from pipeline import Repository, smoke_run, working_tree

CLOCKS = ("timing.json", "timing.csv")
PAGES = ("report", *(f"chapters/{name}/dvc.yaml:{name}_page" for name in ("score", "latent", "baselines")))


def is_clock(name: str) -> bool:
    """Whether an output holds seconds."""
    return Path(name).name in CLOCKS


def locked(repository: Repository) -> dict[str, dict[str, Any]]:
    """What the locks of the spine and of all chapters say of every stage; paths are relative to the root."""
    locks = [repository.path / "dvc.lock", *sorted(repository.path.glob("chapters/*/dvc.lock"))]
    return {name: stage for lock in locks for name, stage in yaml.safe_load(lock.read_text())["stages"].items()}


def outputs(repository: Repository) -> set[str]:
    """Every file that the stages wrote, folders resolved."""
    roots = [
        repository.path / output["path"] for stage in locked(repository).values() for output in stage.get("outs", [])
    ]
    files = {file for root in roots for file in (root.rglob("*") if root.is_dir() else [root]) if not file.is_dir()}
    return {str(file.relative_to(repository.path)) for file in files}


def differing(first: Repository, second: Repository) -> list[str]:
    """The outputs that are not in both, or not the same bytes. `second` is given the measured times of `first`."""
    for name in filter(is_clock, outputs(first)):
        shutil.copy2(first.path / name, second.path / name)
    second.dvc("repro", "--single-item", *PAGES)

    def content(repository: Repository, name: str) -> bytes | None:
        path = repository.path / name
        return path.read_bytes() if path.exists() else None

    names = sorted(outputs(first) | outputs(second))
    return [name for name in names if content(first, name) != content(second, name)]


def main() -> None:
    """Run, compare, print; exit with 1 where a file differs."""
    with tempfile.TemporaryDirectory() as folder:
        first = working_tree(Path(folder, "first/repository"))
        second = first.clone(Path(folder, "second/repository"))
        smoke_run(first)
        smoke_run(second)
        names, different = outputs(first), differing(first, second)
        size = sum((first.path / name).stat().st_size for name in names)
    print(f"compared {len(names)} files, {size:,} bytes: {len(different) or 'none'} differ")
    for name in different:
        print(f"differs: {name}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
