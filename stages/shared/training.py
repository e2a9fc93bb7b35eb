"""What the stages that train have in common: checkpoints, the loss curve, the clock."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from diffusion.data import Dataset
from diffusion.runtime import describe_machine, peak_memory_mib
from diffusion.training.checkpoints import Checkpoints, fingerprint
from diffusion.training.loop import fit
from diffusion.training.optimiser import Diverged
from stages.shared.command import checkpoints_folder
from stages.shared.machine import Machine
from stages.shared.outputs import write_json, write_table
from stages.shared.progress import watched

HISTORY = ("loss", "grad_norm", "learning_rate")
Update = Callable[[int], dict[str, Tensor]]
State = dict[str, Any]


class Settings(Protocol):
    """The keys of a training's section of params.yaml that its course follows from."""

    steps: int
    batch_size: int
    log_every: int


@dataclass(frozen=True, eq=False)
class Training:
    """A training that has not begun, and all that its result follows from beside the code.

    One that was interrupted goes on where it was, if `machine`, `depends_on`, the bytes of `files` and the code are the
    same.
    """

    name: str
    update: Update
    state: State  # what `update` changes, the network as "net"
    settings: Settings
    machine: Machine
    depends_on: dict[str, Any]
    files: Sequence[Path]
    columns: Sequence[str] = HISTORY  # of history.csv, beside the step

    def run(self, report: Path, checkpoint_seconds: float, save: Callable[[], None]) -> None:
        """Train, call `save`, write history.csv and timing.json to `report`. Raises Diverged as `trained`."""
        with self.trained(report, checkpoint_seconds) as checkpoints:
            save()
            timing = {
                "seconds": round(checkpoints.seconds, 1),
                "images_per_second": round(self.settings.steps * self.settings.batch_size / checkpoints.seconds, 1),
                "peak_memory_mib": peak_memory_mib(),
                "parameters": sum(p.numel() for p in self.state["net"].parameters()),
                "batch_size": self.settings.batch_size,
                **describe_machine(*self.machine),
            }
            write_json(report / "timing.json", timing)

    @contextmanager
    def trained(self, report: Path, checkpoint_seconds: float) -> Iterator[Checkpoints]:
        """Train, write history.csv to `report`, then run the block, which saves the result: until it has, the
        checkpoints stay.

        Raises Diverged where a loss or gradient is not finite; history and checkpoints until then are kept.
        """
        device, precision = self.machine
        key = fingerprint(self.name, self.depends_on, str(device), precision, files=[*self.files, *sources()])
        history, header, written = report / "history.csv", ("step", *self.columns), []
        with Checkpoints(checkpoints_folder() / key, checkpoint_seconds) as checkpoints:
            try:
                write_table(history, header, self._rows(checkpoints, written))
            except Diverged as error:
                write_table(history, header, written)
                mend = "a smaller learning_rate" + (", or precision: fp32" if precision != "fp32" else "")
                raise Diverged(
                    f"{self.name}: {error} in {precision} (try {mend}; the steps before: {history})"
                ) from error
            yield checkpoints

    def _rows(self, checkpoints: Checkpoints, written: list[tuple[float, ...]]) -> Iterator[tuple[float, ...]]:
        """The course of the training; its rows are added to `written` too."""
        settings = self.settings
        steps = fit(self.update, self.state, settings.steps, settings.log_every, checkpoints)
        for step, means in watched(steps, self.name, settings.steps, settings.batch_size):
            written.append((step, *(means[column] for column in self.columns)))
            yield written[-1]


def refuse_larger_batch(section: str, settings: Settings, number: int) -> None:
    """Raises ValueError where a batch is larger than the data."""
    if settings.batch_size > number:
        raise ValueError(f"{section}.batch_size: {settings.batch_size} is not possible (allowed: 1 to {number} images)")


def made_for(data: Dataset) -> dict[str, int]:
    """The arguments of a network that follow from its data."""
    _, channels, _, size = data.images.shape
    return {"image_size": size, "image_channels": channels, "num_classes": len(data.class_names)}


def sources() -> list[Path]:
    """The files of this project's code that this process runs: a checkpoint of other code is not resumed."""
    ours = ("diffusion", "stages", "studies", "benchmarks", "__main__")
    modules = (module for name, module in sys.modules.items() if name.split(".")[0] in ours)
    return [Path(module.__file__) for module in modules if getattr(module, "__file__", None)]
