"""What the stages that train have in common: checkpoints, the loss curve, the clock."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from diffusion.data import Dataset, load_split
from diffusion.processes import count
from diffusion.runtime import describe_machine, peak_memory_mib
from diffusion.tensors import save_model
from diffusion.training.checkpoints import Checkpoints, fingerprint
from diffusion.training.loop import Learner, Stateful, Update, fit, state_of
from diffusion.training.optimiser import Diverged
from stages.params.params import BaselineParams, Params
from stages.shared.interruption import held_back
from stages.shared.loggers import Log, logged
from stages.shared.machine import Machine, machine_of
from stages.shared.outputs import write_json, write_table
from stages.shared.progress import watched

HISTORY = ("loss", "grad_norm", "learning_rate")
Learners = dict[str, Learner[Any]]


class Settings(Protocol):
    """The keys of a section of params.yaml that every training needs."""

    steps: int
    batch_size: int
    log_every: int


@dataclass(frozen=True, eq=False)
class Training:
    """A training that has not begun, with everything that determines its result besides the code.

    If interrupted, it resumes from its checkpoint, provided that `machine`, `depends_on`, the bytes of `files` and the
    code are unchanged.
    """

    name: str
    update: Update
    state: Mapping[str, Stateful]  # what `update` changes: see `state_of`
    settings: Settings
    machine: Machine
    depends_on: dict[str, Any]
    files: Sequence[Path]
    columns: Sequence[str] = HISTORY  # of history.csv, besides the step

    def run(self, results: Path, params: Params, save: Callable[[], None]) -> None:
        """Train, call `save`, write history.csv and timing.json to `results`. Raises Diverged as `trained` does."""
        with self.trained(results, params) as checkpoints:
            save()
            nets = [part for part in self.state.values() if isinstance(part, nn.Module)]
            timing = {
                "seconds": round(checkpoints.seconds, 1),
                "images_per_second": round(self.settings.steps * self.settings.batch_size / checkpoints.seconds, 1),
                "peak_memory_mib": peak_memory_mib(),
                "parameters": sum(p.numel() for net in nets for p in net.parameters()),
                "batch_size": self.settings.batch_size,
                "processes": count(),
                **describe_machine(*self.machine),
            }
            write_json(results / "timing.json", timing)

    @contextmanager
    def trained(self, results: Path, params: Params) -> Iterator[Checkpoints]:
        """Train and write history.csv to `results`, then run the block, which saves the result; the checkpoints stay
        until it has.

        Of `params` only what changes no result is read: `checkpoint_seconds` and `logger`. Raises ValueError for a
        logger that is not installed, and Diverged if a loss or gradient is not finite; history and checkpoints up to
        then are kept. An interruption waits for the end of the current step and for a checkpoint of it.
        """
        device, precision = self.machine
        key = fingerprint(self.name, self.depends_on, str(device), precision, files=[*self.files, *sources()])
        history, header = results / "history.csv", ("step", *self.columns)
        written: list[tuple[float, ...]] = []
        with Checkpoints(checkpoints_folder() / key, params.checkpoint_seconds) as checkpoints:
            try:
                with logged(params.logger, self.name) as log, held_back(checkpoints.interrupted):
                    write_table(history, header, self._rows(checkpoints, written, log))
            except Diverged as error:
                write_table(history, header, written)
                mend = "a smaller learning_rate" + (", or precision: fp32" if precision != "fp32" else "")
                raise Diverged(
                    f"{self.name}: {error} in {precision} (try {mend}; the steps before: {history})"
                ) from error
            yield checkpoints

    def _rows(
        self, checkpoints: Checkpoints, written: list[tuple[float, ...]], log: Log
    ) -> Iterator[tuple[float, ...]]:
        """Train, yielding a row for every report, logging it and adding it to `written`."""
        settings = self.settings
        steps = fit(self.update, self.state, settings.steps, settings.log_every, checkpoints)
        for step, means in watched(steps, self.name, settings.steps, settings.batch_size):
            written.append((step, *(means[column] for column in self.columns)))
            log(step, means)
            yield written[-1]


def train_baseline(
    kind: str,
    params: BaselineParams,
    data: Path,
    model: Path,
    results: Path,
    net_arguments: Callable[[BaselineParams, Dataset], dict[str, Any]],
    training_of: Callable[[BaselineParams, Dataset, torch.device, str], tuple[Update, Learners]],
    columns: Sequence[str],
) -> None:
    """Train a baseline on `data`, write the EMA weights of its last learner to `model`, loss curves and timing to
    `results`.

    `kind` is its section of params and the kind of its model file; `net_arguments` build the network in it.
    """
    machine, settings = machine_of(params), getattr(params, kind)
    split = data / "train.safetensors"
    train = load_split(split)
    update, learners = training_of(params, train, *machine)
    *_, saved = learners.values()
    description = {"net": net_arguments(params, train), "class_names": list(train.class_names)}
    depends_on = params.model_dump(include={"seed", "shards", kind})
    training = Training(kind, update, state_of(learners), settings, machine, depends_on, [split], columns)
    training.run(results, params, lambda: save_model(model, kind, saved.weights(), description))


def checkpoints_folder() -> Path:
    """Where interrupted trainings wait: in the original repository, even when an experiment runs in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / "checkpoints"


def data_arguments(data: Dataset) -> dict[str, int]:
    """The arguments of a network that follow from its data."""
    _, channels, _, size = data.images.shape
    return {"image_size": size, "image_channels": channels, "num_classes": len(data.class_names)}


def sources() -> list[Path]:
    """The files of this project's code that this process runs: a checkpoint of other code is not resumed."""
    ours = ("diffusion", "stages", "studies", "benchmarks", "__main__")
    modules = (module for name, module in sys.modules.items() if name.split(".")[0] in ours)
    files = (getattr(module, "__file__", None) for module in modules)
    return [Path(file) for file in files if file]
