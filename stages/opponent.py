"""What the stages that train an opponent of the denoiser have in common."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch

from diffusion.checkpoint import save_tensors
from diffusion.data import Dataset, load_split
from stages.machine import machine_of
from stages.params import Params
from stages.training import State, Training, Update, refuse_larger_batch


def train_opponent(
    kind: str,
    params: Params,
    arguments: argparse.Namespace,
    net_arguments: Callable[[Params, Dataset], dict[str, Any]],
    training_of: Callable[[Params, Dataset, torch.device, str], tuple[Update, State]],
    columns: Sequence[str],
) -> None:
    """Train on --data, write the EMA weights to --model and the loss curves and timing to --report.

    `kind` is the section of params and what the model's file says it is; `net_arguments` build the network of it.
    """
    machine, settings = machine_of(params), getattr(params, kind)
    split = arguments.data / "train.safetensors"
    data = load_split(split)
    refuse_larger_batch(kind, settings, len(data.images))
    update, state = training_of(params, data, *machine)
    description = {"kind": kind, "net": net_arguments(params, data), "class_names": list(data.class_names)}
    followed = params.model_dump(include={"seed", kind})
    training = Training(kind, update, state, settings, machine, followed, [split], columns)
    training.run(arguments.report, lambda: save_tensors(arguments.model, state["ema"].state_dict(), description))
