"""How far DVC is with a pipeline: the stages that it still has to run, and about how long they take.

It changes no result, so no stage depends on it (see tests/deps.py), and what it cannot read it leaves unsaid.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diffusion.files import write_text
from stages.params import file
from stages.shared import start

# Seconds of the default run on two cores with AVX2 and without bf16. A stage that has run on this machine counts as
# it did there, and the others as much faster or slower as those were.
DEFAULT_SECONDS = {
    "prepare": 10,
    "judge": 105,
    "schedules": 10,
    "train": 480,
    "evaluate": 180,
    "benchmark": 65,
    "guidance": 100,
    "report": 15,
    "autoencoder": 135,
    "train_latent": 565,
    "sample_latent": 85,
}
FIRST_PICTURES = {"evaluate": "results/evaluate/recommended.png"}  # what can be looked at before the page is there
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
Stages = dict[str, dict[str, Any]]  # of a dvc.yaml, or of its lock


@contextmanager
def announced() -> Iterator[None]:
    """Say which stage the block is, if DVC runs it, and remember how long it took."""
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    if name:
        with suppress(*UNREADABLE):
            print(announcement(name), file=sys.stderr, flush=True)
    yield
    if name in FIRST_PICTURES:
        print(f"{name}: samples to look at are in {FIRST_PICTURES[name]}", file=sys.stderr, flush=True)
    if name:
        with suppress(*UNREADABLE):
            write_text(_memory(), json.dumps(remembered() | {name: round(time.monotonic() - start.MOMENT, 1)}) + "\n")


def announcement(name: str) -> str:
    """`stage 4 of 8: train (about 5 min; all done in about 8 min): Train the denoiser`, less what is not known.

    Raises one of UNREADABLE if there is no such stage, or its dvc.yaml, lock or params cannot be read.
    """
    path, stages = pipeline_of(name)
    lock = path.with_suffix(".lock")
    recorded: Stages = file.read(lock)["stages"] if lock.exists() else {}
    left = stages_left(name, stages, recorded)
    seconds = expected_seconds(left, recorded)
    times = [f"about {rounded(seconds[name])}"] if name in seconds else []
    if len(left) > 1 and seconds.keys() >= {*left}:
        times.append(f"all done in about {rounded(sum(seconds[other] for other in left))}")
    told = f" ({'; '.join(times)})" if times else ""
    return f"stage {len(stages) - len(left) + 1} of {len(stages)}: {name}{told}: {stages[name]['desc']}"


def pipeline_of(name: str) -> tuple[Path, Stages]:
    """The dvc.yaml that a stage stands in, and all stages there. Raises LookupError if it stands in none."""
    for path in (Path("dvc.yaml"), *sorted(Path("chapters").glob("*/dvc.yaml"))):
        stages = file.read(path)["stages"]
        if name in stages:
            return path, stages
    raise LookupError(name)


def stages_left(name: str, stages: Stages, recorded: Stages) -> list[str]:
    """This stage and those that DVC will find changed, as far as its lock tells: edits of code are not looked for."""
    written = {out["path"]: out.get("md5") for lock in recorded.values() for out in lock.get("outs", [])}
    left: list[str] = []
    for other, stage in stages.items():
        to_come = [Path(path) for earlier in left for path in outputs(stages[earlier])]
        reads = [Path(path) for path in stage["deps"]]
        if (
            other == name
            or any(a.is_relative_to(b) or b.is_relative_to(a) for a in reads for b in to_come)
            or not all(Path(path).exists() for path in outputs(stage))
            or other_params(recorded.get(other))
            or any(written.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in recorded[other]["deps"])
        ):
            left.append(other)
    return left


def outputs(stage: dict[str, Any]) -> list[str]:
    """The paths that a stage writes."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def other_params(recorded: dict[str, Any] | None) -> bool:
    """Whether the params that a stage reads differ from those of its last run."""
    if recorded is None:
        return True
    for path, values in recorded.get("params", {}).items():
        content = file.read(Path(path))
        for key, before in values.items():
            now: Any = content
            for part in key.split("."):
                now = now[part]
            if now != before:
                return True
    return False


def expected_seconds(names: list[str], recorded: Stages) -> dict[str, float]:
    """About how long stages take: as long as last time, or else as in the default run if they have its params."""
    known = remembered()
    both = known.keys() & DEFAULT_SECONDS.keys()
    pace = sum(known[name] for name in both) / sum(DEFAULT_SECONDS[name] for name in both) if both else 1.0
    default = {name: pace * DEFAULT_SECONDS[name] for name in names if name in DEFAULT_SECONDS}
    return {name: value for name, value in default.items() if not other_params(recorded.get(name))} | known


def remembered() -> dict[str, float]:
    """The seconds that stages took the last time on this machine, by name; none if they cannot be read."""
    with suppress(*UNREADABLE):
        return {str(name): float(seconds) for name, seconds in json.loads(_memory().read_text()).items()}
    return {}


def rounded(seconds: float) -> str:
    """`5 s` to `90 s`, then `2 min` to `90 min`, then `1.6 h`."""
    if seconds > 90 * 60:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{max(5 * round(seconds / 5), 5)} s"


def _memory() -> Path:
    """In the original repository, even when an experiment runs in a copy of it; DVC keeps git from seeing it."""
    return Path(os.environ["DVC_ROOT"], ".dvc/tmp/stage_seconds.json")
