"""What the stages that train have in common: the machine, checkpoints, the loss curve, the clock."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from diffusion.checkpoint import Checkpoints, fingerprint
from diffusion.data import Dataset
from diffusion.runtime import describe_machine, peak_memory_mib, pick_device, pick_precision, prepare_machine
from diffusion.training import Diverged, fit
from stages.command import checkpoints_folder
from stages.outputs import write_json, write_table
from stages.params import Params
from stages.progress import watched

HISTORY = ("loss", "grad_norm", "learning_rate")
Update = Callable[[int], dict[str, Tensor]]
State = dict[str, Any]


class Settings(Protocol):
    """The keys of a training's section of params.yaml that its course follows from."""

    steps: int
    batch_size: int
    log_every: int
    checkpoint_seconds: float


def machine_of(params: Params) -> tuple[torch.device, str]:
    """The device and the precision to train with; the process is made ready for them."""
    device = pick_device(params.device)
    prepare_machine(device)
    return device, pick_precision(params.precision, device)


def refuse_larger_batch(section: str, settings: Settings, number: int) -> None:
    """Raises ValueError where a batch is larger than the data."""
    if settings.batch_size > number:
        raise ValueError(f"{section}.batch_size: {settings.batch_size} is not possible (allowed: 1 to {number} images)")


def made_for(data: Dataset) -> dict[str, int]:
    """The arguments of a network that follow from its data."""
    _, channels, _, size = data.images.shape
    return {"image_size": size, "image_channels": channels, "num_classes": len(data.class_names)}


@contextmanager
def trained(
    name: str,
    update: Update,
    state: Mapping[str, Any],
    settings: Settings,
    depends_on: Sequence[object],
    files: Sequence[Path],
    report: Path,
    machine: tuple[torch.device, str],
    columns: Sequence[str] = HISTORY,
) -> Iterator[Checkpoints]:
    """Train, write history.csv to `report`, then run the block, which saves the result: until it has, the checkpoints
    stay.

    An interrupted training goes on where it was if `depends_on`, the bytes of `files`, the code and the machine are the
    same. Raises Diverged where a loss or gradient is not finite; history and checkpoints until then are kept.
    """
    device, precision = machine
    key = fingerprint(name, *depends_on, str(device), precision, files=[*files, *sources()])
    history, header, written = report / "history.csv", ("step", *columns), []
    with Checkpoints(checkpoints_folder() / key, settings.checkpoint_seconds) as checkpoints:
        steps = fit(update, state, settings.steps, settings.log_every, checkpoints)

        def rows() -> Iterator[tuple[float, ...]]:
            for step, means in watched(steps, name, settings.steps, settings.batch_size):
                written.append((step, *(means[column] for column in columns)))
                yield written[-1]

        try:
            write_table(history, header, rows())
        except Diverged as error:
            write_table(history, header, written)
            mend = "a smaller learning_rate" + (", or precision: fp32" if precision != "fp32" else "")
            raise Diverged(f"{name}: {error} in {precision} (try {mend}; the steps before: {history})") from error
        yield checkpoints


def train_to_the_end(
    name: str,
    update: Update,
    state: Mapping[str, Any],
    settings: Settings,
    depends_on: Sequence[object],
    files: Sequence[Path],
    save: Callable[[], None],
    report: Path,
    machine: tuple[torch.device, str],
    columns: Sequence[str] = HISTORY,
) -> None:
    """As `trained`, with `save` as the block; writes timing.json too."""
    training = trained(name, update, state, settings, depends_on, files, report, machine, columns)
    with training as checkpoints:
        save()
        timing = {
            "seconds": round(checkpoints.seconds, 1),
            "images_per_second": round(settings.steps * settings.batch_size / checkpoints.seconds, 1),
            "peak_memory_mib": peak_memory_mib(),
            "parameters": sum(p.numel() for p in state["net"].parameters()),
            "batch_size": settings.batch_size,
            **describe_machine(*machine),
        }
        write_json(report / "timing.json", timing)


def sources() -> list[Path]:
    """The files of this project's code that this process runs: a checkpoint of other code is not resumed."""
    ours = ("diffusion", "stages", "__main__")
    modules = (module for name, module in sys.modules.items() if name.split(".")[0] in ours)
    return [Path(module.__file__) for module in modules if getattr(module, "__file__", None)]
