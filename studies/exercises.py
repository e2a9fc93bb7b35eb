"""`make study STUDY=exercises`: what the lesson asks for beyond the default run, as DVC experiments side by side.

T = 200 with betas rescaled and unscaled against T = 1000, and cosine against linear; all else is as in params.yaml.
Queues an experiment for each as far as `evaluate` and starts a worker, twenty minutes or more on two cores. Writes
history.csv, metrics.json, samples.png (a row per run, a noise per column) and about.json to --report, then removes the
experiments; an interrupted study goes on from DVC's cache.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
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
from stages.shared.outputs import write_json, write_table
from stages.shared.samplers import SHEET_COLUMNS

RUNS = {  # what each changes; the first is what the others are compared with
    "exercises-T1000-linear": ("schedule=linear", "timesteps=1000"),
    "exercises-T200-linear": ("schedule=linear", "timesteps=200"),
    "exercises-T200-linear_unscaled": ("schedule=linear_unscaled", "timesteps=200"),
    "exercises-T1000-cosine": ("schedule=cosine", "timesteps=1000"),
}
LAST_STAGE = "evaluate"
TAKEN = (
    "params.yaml",
    "reports/train/history.csv",
    "reports/evaluate/metrics.json",
    "reports/evaluate/samplers.csv",
    "reports/evaluate/samplers.png",
)
STATES = ("Queued", "Running", "Success", "Failed")
FOLLOWED = {"seed", "data", "judge", "model", "train", "evaluate"}


class Result(NamedTuple):
    """What an experiment left behind."""

    params: Params
    history: pd.DataFrame
    metrics: dict[str, Any]
    samples: Tensor  # uint8 (16, C, H, W)


def main(params: Params, *, report: Path) -> None:
    """Run the experiments and write what they show to --report."""
    for name, changes in RUNS.items():
        try:
            params.changed(changes)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    commit = command("git", "describe", "--always", "--dirty", "--exclude=*").strip()
    with queued():
        for name in RUNS:
            finish(name)
        results = {name: collected(name) for name in RUNS}
    write(report, results, {"commit": commit} | describe_machine(*machine_of(params)))


@contextmanager
def queued() -> Iterator[None]:
    """The experiments of RUNS in the queue; afterwards nothing of them is left in it, nor among the experiments.

    Raises ValueError where the queue holds experiments of somebody else, which a worker would run as well.
    """
    others = [words for words in queue() if not set(RUNS) & set(words) and words[-1] in ("Queued", "Running")]
    if others:
        raise ValueError(
            f"the queue holds {len(others)} other experiments, the first {others[0][0]} "
            "(allowed: none; dvc queue start runs them, dvc queue remove drops them)"
        )
    remove()
    try:
        for name, changes in RUNS.items():
            overrides = [word for change in changes for word in ("--set-param", change)]
            command("dvc", "exp", "run", "--queue", "--name", name, *overrides, LAST_STAGE)
        yield
    finally:
        remove()


def finish(name: str) -> None:
    """Wait until an experiment has ended, and show its output meanwhile. Raises ValueError where it fails."""
    command("dvc", "queue", "start", "--jobs", "1")
    while states()[name] == "Queued":
        time.sleep(1)
    unbuffered = os.environ | {"PYTHONUNBUFFERED": "1"}
    subprocess.run(["dvc", "queue", "logs", "--follow", name], check=True, env=unbuffered)
    while (state := states()[name]) == "Running":
        time.sleep(1)
    if state != "Success":
        raise ValueError(f"{name}: the experiment failed, its output stands above")


def remove() -> None:
    """Take the experiments of RUNS out of the queue and drop their results; one that runs is interrupted."""
    known = states()
    running = [name for name, state in known.items() if state == "Running"]
    ended = [
        name for name in RUNS if name not in running and (name in known or command("git", "for-each-ref", ref(name)))
    ]
    if ended:  # first, or a worker would go on with those that wait
        command("dvc", "exp", "remove", *ended)
    if running:
        command("dvc", "queue", "kill", *running)
        while "Running" in states().values():
            time.sleep(1)
        command("dvc", "exp", "remove", *running)


def states() -> dict[str, str]:
    """The state of every experiment of RUNS that the queue knows: Queued, Running, Success or Failed."""
    return {name: words[-1] for words in queue() for name in RUNS if name in words}


def queue() -> list[list[str]]:
    """What `dvc queue status` says of every experiment, in words: the first is its id, the last its state."""
    lines = [line.split() for line in command("dvc", "queue", "status").splitlines()]
    return [words for words in lines if words and words[-1] in STATES]


def ref(name: str) -> str:
    """Where git keeps an experiment of the last commit."""
    baseline = command("git", "rev-parse", "HEAD").strip()
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"


def collected(name: str) -> Result:
    """What stands in an experiment's commit; its samples are by DDIM with about as many calls as its verdict."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in TAKEN:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shown = subprocess.run(["git", "show", f"{ref(name)}:{path}"], check=True, stdout=subprocess.PIPE)
            (folder / path).write_bytes(shown.stdout)
        params, reports = Params.load(folder), Reports(folder / "reports")
        history, metrics = reports.table("train/history.csv"), reports.record("evaluate/metrics.json")
        rows = reports.table("evaluate/samplers.csv").query("subset == 'all'").reset_index()
        deterministic = rows.query("sampler == 'ddim' and eta == 0")
        row = (deterministic["steps"] - metrics["calls"]).abs().idxmin()
        tiles = torch.from_numpy(reports.tiles("evaluate/samplers.png", len(rows), SHEET_COLUMNS)[row])
    samples = tiles.reshape(*tiles.shape[:3], -1).permute(0, 3, 1, 2)  # grey ones have no axis of channels
    return Result(params, history, metrics | {"shown_calls": int(rows["steps"][row])}, samples)


def write(report: Path, results: dict[str, Result], about: dict[str, Any]) -> None:
    """All results in four files, about.json last."""
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
    """Of each the keys (as in `section.key`) in which not all are the same."""
    flats = [flat(one.model_dump()) for one in params]
    return [{key: value for key, value in one.items() if any(other[key] != value for other in flats)} for one in flats]


def command(*words: str) -> str:
    """What a command prints. Raises ValueError with the last line of its complaint where it fails.

    By way of files: pipes would stay open as long as a worker that it leaves behind.
    """
    with TemporaryFile("w+") as output, TemporaryFile("w+") as complaint:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=output, stderr=complaint)
        output.seek(0)
        complaint.seek(0)
        if done.returncode:
            raise ValueError(f"{' '.join(words)}: {(complaint.read().strip() or 'failed').splitlines()[-1]}")
        return output.read()


if __name__ == "__main__":
    run(main)
