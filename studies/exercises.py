"""`make study STUDY=exercises`: what the lesson asks for beyond the default run, as DVC experiments side by side.

T = 200 with betas rescaled and unscaled against T = 1000, cosine and flow matching against linear; all else is as in
params.yaml.

Runs an experiment for each, up to stage `evaluate`, in copies of the workspace: twenty minutes or more on two cores.
Writes history.csv, metrics.json, samples.png (a row per run, a noise per column) and about.json to --report, then
removes the experiments; an interrupted study resumes from DVC's cache and from the checkpoint of its training.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from diffusion.data import save_sheet
from diffusion.runtime import describe_machine
from diffusion.schedule import noise_schedule
from report.reading import Reports, flat
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.machine import machine_of
from stages.shared.origin import origin_of
from stages.shared.outputs import write_json, write_table
from stages.shared.samplers import SHEET_COLUMNS

RUNS = {  # name and changed params; the others are compared with the first
    "exercises-T1000-linear": ("schedule=linear", "timesteps=1000"),
    "exercises-T200-linear": ("schedule=linear", "timesteps=200"),
    "exercises-T200-linear_unscaled": ("schedule=linear_unscaled", "timesteps=200"),
    "exercises-T1000-cosine": ("schedule=cosine", "timesteps=1000"),
    "exercises-T1000-flow": ("schedule=flow", "timesteps=1000", "train.target=flow"),
}
LAST_STAGE = "evaluate"
COLLECTED = ("results/train", "results/evaluate")
FOLLOWED = {"seed", "data", "judge", "model", "train", "sampling", "evaluate"}


class Result(NamedTuple):
    """What an experiment left behind."""

    params: Params
    history: pd.DataFrame
    metrics: dict[str, Any]
    samples: Tensor  # uint8 (16, C, H, W)


def main(params: Params, *, card: Path, report: Path) -> None:
    """Run the experiments on the data whose card is --card, and write their results to --report."""
    for name, changes in RUNS.items():
        try:
            params.changed(changes)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    commit = command("git", "describe", "--always", "--dirty", "--exclude=*").strip()
    with experiments():
        results = {name: collect(name) for name in RUNS}
    write(report, results, origin_of(card) | {"commit": commit} | describe_machine(*machine_of(params)))


@contextmanager
def experiments() -> Iterator[None]:
    """Run the experiments of RUNS in copies of the workspace; afterwards they are removed, whatever happened.

    Raises ValueError where one fails.
    """
    remove()
    try:
        for name, changes in RUNS.items():
            overrides = [word for change in changes for word in ("--set-param", change)]
            if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *overrides, LAST_STAGE]).returncode:
                raise ValueError(f"{name}: the experiment failed, see its output above")
        yield
    finally:
        remove()


def remove() -> None:
    """Drop the experiments of RUNS that exist."""
    existing = [name for name in RUNS if command("git", "for-each-ref", ref(name))]
    if existing:
        command("dvc", "exp", "remove", *existing)


def ref(name: str) -> str:
    """Where git keeps an experiment of the last commit."""
    baseline = command("git", "rev-parse", "HEAD").strip()
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"


def collect(name: str) -> Result:
    """Read the results of an experiment; its samples are by DDIM in about as many steps as its verdict's."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "params.yaml").write_text(command("git", "show", f"{ref(name)}:params.yaml"), encoding="utf-8")
        for path in COLLECTED:
            command("dvc", "get", ".", path, "--rev", ref(name), "--out", str(folder / path))
        params, reports = Params.load(folder), Reports(folder, page="index", results=folder / "results")
        history, metrics = reports.table("train/history.csv"), reports.record("evaluate/metrics.json")
        rows = reports.table("evaluate/samplers.csv").query("subset == 'all'").reset_index()
        deterministic = rows.query("sampler == 'ddim' and eta == 0")
        row = (deterministic["steps"] - metrics["calls"]).abs().idxmin()
        tiles = torch.from_numpy(reports.tiles("evaluate/samplers.png", len(rows), SHEET_COLUMNS)[row])
    samples = tiles.reshape(*tiles.shape[:3], -1).permute(0, 3, 1, 2)  # grey tiles have no channel axis
    return Result(params, history, metrics | {"shown_calls": int(rows["steps"][row])}, samples)


def write(report: Path, results: dict[str, Result], about: dict[str, Any]) -> None:
    """Write all results to four files, about.json last."""
    histories = ([name, *row] for name, result in results.items() for row in result.history[["step", "loss"]].values)
    write_table(report / "history.csv", ("run", "step", "loss"), histories)
    write_json(report / "metrics.json", {name: result.metrics for name, result in results.items()})
    samples = torch.cat([result.samples for result in results.values()])
    save_sheet(report / "samples.png", samples, SHEET_COLUMNS, scale=1)
    params = [result.params for result in results.values()]
    schedules = {name: noise_schedule(r.params.schedule, r.params.timesteps) for name, r in results.items()}
    write_json(
        report / "about.json",
        {
            "changed": dict(zip(results, differences(params), strict=True)),
            "alpha_bar_T": {name: float(schedule.alpha_bar[-1]) for name, schedule in schedules.items()},
            "params": params[0].model_dump(include=FOLLOWED),
            **about,
        },
    )


def differences(params: list[Params]) -> list[dict[str, Any]]:
    """For each of `params` the keys, as `section.key`, whose values are not the same in all."""
    flats = [flat(one.model_dump()) for one in params]
    return [{key: value for key, value in one.items() if any(other[key] != value for other in flats)} for one in flats]


def command(*words: str) -> str:
    """What a command prints. Raises ValueError with its last line of errors where it fails."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{' '.join(words)}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


if __name__ == "__main__":
    run(main)
