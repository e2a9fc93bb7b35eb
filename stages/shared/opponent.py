"""What the stages that train an opponent of the denoiser have in common."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from diffusion.data import Dataset, load_split
from diffusion.tensors import save_tensors
from stages.params.params import BaselineParams
from stages.shared.machine import machine_of
from stages.shared.training import State, Training, Update, refuse_larger_batch


def train_opponent(
    kind: str,
    params: BaselineParams,
    data: Path,
    model: Path,
    report: Path,
    net_arguments: Callable[[BaselineParams, Dataset], dict[str, Any]],
    training_of: Callable[[BaselineParams, Dataset, torch.device, str], tuple[Update, State]],
    columns: Sequence[str],
) -> None:
    """Train on `data`, write the EMA weights to `model` and the loss curves and timing to `report`.

    `kind` is the section of params and what the model's file says it is; `net_arguments` build the network of it.
    """
    machine, settings = machine_of(params), getattr(params, kind)
    split = data / "train.safetensors"
    train = load_split(split)
    refuse_larger_batch(kind, settings, len(train.images))
    update, state = training_of(params, train, *machine)
    description = {"kind": kind, "net": net_arguments(params, train), "class_names": list(train.class_names)}
    followed = params.model_dump(include={"seed", kind})
    training = Training(kind, update, state, settings, machine, followed, [split], columns)
    training.run(report, params.checkpoint_seconds, lambda: save_tensors(model, state["ema"].state_dict(), description))
