"""`make sweep SWEEP=studies/NAME.yaml`: a grid of params with training seeds, as DVC experiments side by side.

The file names the params and their values, the training seeds, and the figures to compare (see `Sweep`). Runs an
experiment for each setting and seed, up to stage `evaluate`, in copies of the workspace, one after the other: DVC's
queue would start them all at once, and on one machine they would only share it. Every run is sampled from the same
start noise and judged by the same judge, so they compare image by image.

Writes history.csv, metrics.json, predictions.csv, samples.png (a row per run, a noise per column), about.json and a
page to --report, then removes the experiments; an interrupted sweep resumes from DVC's cache and from the checkpoint of
its training.
"""

import json
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple, Self

import pandas as pd
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from diffusion.data import save_sheet
from diffusion.runtime import describe_machine
from diffusion.schedule import noise_schedule
from report.reading import Reports, flat
from report.sweep import TRAINING_SEED, build
from stages.params import file
from stages.params.keys import Section
from stages.params.params import Params, first_problem
from stages.params.values import Folder, TrainingSeed
from stages.shared.command import run
from stages.shared.machine import machine_of
from stages.shared.origin import origin_of
from stages.shared.outputs import write_json, write_table
from stages.shared.samplers import SHEET_COLUMNS

LAST_STAGE = "evaluate"
COLLECTED = ("results/data", "results/train", "results/evaluate")
SHARED = ("seed", "data", "judge", "evaluate", TRAINING_SEED)  # params, or sections, that no grid may vary
FOLLOWED = {"seed", "schedule", "timesteps", "data", "judge", "model", "train", "sampling", "evaluate"}
Measure = Literal["fid", "kid", "accuracy", "precision", "recall", "clipped_density", "coverage", "clipped_coverage"]
Scalar = bool | int | float | str
Values = Annotated[list[Scalar | list[Scalar]], Field(min_length=1)]


class Sweep(Section):
    """What a file of a sweep says; the first setting is what the others are compared with.

    Every block of the grid stands for all combinations of its values; without blocks, params.yaml is the only setting.
    """

    title: Folder
    compare: Annotated[list[Measure], Field(min_length=1)]
    seeds: Annotated[list[TrainingSeed], Field(min_length=1)]  # of training; auto: that of params.yaml
    grid: list[dict[str, Values]]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file. Raises ValueError, one line, for the first key or value that is wrong."""
        try:
            return cls.model_validate(file.read(path))
        except ValidationError as error:
            raise ValueError(f"{path}: {first_problem(error).message}") from error

    def settings(self) -> list[dict[str, Any]]:
        """The values of every setting by their keys, in the order of the grid."""
        blocks = self.grid or [{}]
        return [dict(zip(block, values, strict=True)) for block in blocks for values in product(*block.values())]

    def runs(self, name: str, params: Params) -> dict[str, list[str]]:
        """The changes of every run, each as `params.changed` takes it, by the name of its experiment.

        Raises ValueError for a name that no experiment can have, for params that no grid may vary, for values that
        `params` cannot take, and for a run that stands there twice.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"{name}: not a name for a sweep (allowed: letters, digits, - and _)")
        for key in {key for block in self.grid for key in block}:
            if any(key == shared or key.startswith(f"{shared}.") for shared in SHARED):
                raise ValueError(f"grid: {key} cannot vary (all runs share {', '.join(SHARED[:-1])}; see seeds)")
        chosen = [{**setting, TRAINING_SEED: seed} for setting in self.settings() for seed in self.seeds]
        runs = {f"{name}-{number}": one for number, one in enumerate(chosen, start=1)}
        known: list[Params] = []
        for run_name, values in runs.items():
            try:
                changed = params.changed([as_change(key, value) for key, value in values.items()])
            except ValueError as error:
                raise ValueError(f"{run_name}: {error}") from error
            if changed in known:
                raise ValueError(f"{run_name}: the same params as {name}-{known.index(changed) + 1}")
            known.append(changed)
        return {run_name: [as_change(*item) for item in values.items()] for run_name, values in runs.items()}


class Result(NamedTuple):
    """What an experiment left behind."""

    params: Params
    data: dict[str, Any]  # which images, as `origin_of`
    history: pd.DataFrame
    metrics: dict[str, Any]
    predictions: pd.DataFrame  # label and class recognised of every sample
    samples: Tensor  # uint8 (16, C, H, W)


def main(params: Params, *, sweep: Path, report: Path) -> None:
    """Run the experiments of the file --sweep, write their results to --report and draw the page there."""
    plan = Sweep.load(sweep)
    try:
        runs = plan.runs(sweep.stem, params)
    except ValueError as error:
        raise ValueError(f"{sweep}: {error}") from error
    commit = command("git", "describe", "--always", "--dirty", "--exclude=*").strip()
    with experiments(runs):
        found = experiments_of_head()
        results = {name: collect(found[name]) for name in runs}
    about = {"title": plan.title, "compare": plan.compare, "command": f"make sweep SWEEP={sweep}", "commit": commit}
    write(report, results, about | describe_machine(*machine_of(params)))
    build(report)


def as_change(key: str, value: object) -> str:
    """A value as DVC takes it after `--set-param`, and `Params.changed` too."""
    return f"{key}='{value}'" if isinstance(value, str) else f"{key}={json.dumps(value)}"


@contextmanager
def experiments(runs: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Run the experiments in copies of the workspace; afterwards they are removed, whatever happened.

    Raises ValueError where one fails.
    """
    remove(runs)
    try:
        for name, changes in runs.items():
            overrides = [word for change in changes for word in ("--set-param", change)]
            if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *overrides, LAST_STAGE]).returncode:
                raise ValueError(f"{name}: the experiment failed, see its output above")
        yield
    finally:
        remove(runs)


def remove(names: Mapping[str, object]) -> None:
    """Drop those of the experiments that exist."""
    existing = [name for name in experiments_of_head() if name in names]
    if existing:
        command("dvc", "exp", "remove", *existing)


def experiments_of_head() -> dict[str, dict[str, Any]]:
    """The experiments of the last commit that have run, by their names, each as `dvc exp show` describes it."""
    shown = json.loads(command("dvc", "exp", "show", "--json"))
    revisions = (one["revs"][0] for baseline in shown for one in baseline["experiments"] or ())
    return {one["name"]: one for one in revisions if one["name"] and one["data"]}


def collect(experiment: Mapping[str, Any]) -> Result:
    """Read the results of an experiment; its samples are by DDIM in about as many steps as its verdict's."""
    params = Params.validated(experiment["data"]["params"]["params.yaml"]["data"])
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in COLLECTED:
            command("dvc", "get", ".", path, "--rev", experiment["rev"], "--out", str(folder / path))
        reports = Reports(folder, page="index", results=folder / "results")
        origin = origin_of(folder / "results/data/card.json")
        history, metrics = reports.table("train/history.csv"), reports.record("evaluate/metrics.json")
        predictions = reports.table("evaluate/predictions.csv")
        rows = reports.table("evaluate/samplers.csv").query("subset == 'all'").reset_index()
        deterministic = rows.query("sampler == 'ddim' and eta == 0")
        row = (deterministic["steps"] - metrics["calls"]).abs().idxmin()
        tiles = torch.from_numpy(reports.tiles("evaluate/samplers.png", len(rows), SHEET_COLUMNS)[row])
    samples = tiles.reshape(*tiles.shape[:3], -1).permute(0, 3, 1, 2)  # grey tiles have no channel axis
    return Result(params, origin, history, metrics | {"shown_calls": int(rows["steps"][row])}, predictions, samples)


def write(report: Path, results: Mapping[str, Result], about: Mapping[str, Any]) -> None:
    """Write all results to five files, about.json last."""
    first, *_ = results.values()
    histories = ([name, *row] for name, result in results.items() for row in result.history[["step", "loss"]].values)
    write_table(report / "history.csv", ("run", "step", "loss"), histories)
    write_json(report / "metrics.json", {name: result.metrics for name, result in results.items()})
    recognised = zip(first.predictions["label"], *(r.predictions["recognised"] for r in results.values()), strict=True)
    write_table(report / "predictions.csv", ("label", *results), recognised)
    samples = torch.cat([result.samples for result in results.values()])
    save_sheet(report / "samples.png", samples, SHEET_COLUMNS, scale=1)
    changed = differences([result.params for result in results.values()])
    schedules = {name: noise_schedule(r.params.schedule, r.params.timesteps) for name, r in results.items()}
    write_json(
        report / "about.json",
        {
            **first.data,
            "changed": dict(zip(results, changed, strict=True)),
            "alpha_bar_T": {name: float(schedule.alpha_bar[-1]) for name, schedule in schedules.items()},
            "params": without(first.params.model_dump(include=FOLLOWED), changed[0].keys()),
            **about,
        },
    )


def differences(params: Sequence[Params]) -> list[dict[str, Any]]:
    """For each of `params` the keys, as `section.key`, whose values are not the same in all."""
    flats = [flat(one.model_dump()) for one in params]
    return [{key: value for key, value in one.items() if any(other[key] != value for other in flats)} for one in flats]


def without(params: Mapping[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Nested params without some keys, given as `section.key`."""
    kept = {key: value for key, value in params.items() if prefix + key not in keys}
    return {
        key: without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in kept.items()
    }


def command(*words: str) -> str:
    """What a command prints. Raises ValueError with its last line of errors where it fails."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{' '.join(words)}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


if __name__ == "__main__":
    run(main)
