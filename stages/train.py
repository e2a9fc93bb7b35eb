"""Stage `train`: the denoiser. Writes weights, history and clock, nothing else, so plots and metrics never retrain."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffusion.data import Dataset, load_split
from diffusion.denoiser import save_denoiser
from diffusion.loss import mirrored
from diffusion.nets.table import build_net
from diffusion.training.loop import Update, state_of
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.denoiser_training import denoiser_training
from stages.shared.machine import machine_of
from stages.shared.model_record import write_model_record
from stages.shared.training import Learners, Training, data_arguments


def main(params: Params, *, data: Path, model: Path, results: Path) -> None:
    """Train on --data, write the EMA weights to --model and loss curve, timing and record of the model to --results."""
    machine = machine_of(params)
    split = data / "train.safetensors"
    train = load_split(split)
    description = describe(params, train)
    update, learners = training_of(params, train, *machine)
    depends_on = params.model_dump(include={"seed", "shards", "schedule", "timesteps", "model", "train"})
    training = Training("denoiser", update, state_of(learners), params.train, machine, depends_on, [split])

    def save() -> None:
        save_denoiser(model, learners["denoiser"].weights(), description)
        write_model_record(results / "model.json", model, params.train.steps)

    training.run(results, params, save)


def describe(params: Params, data: Dataset) -> dict[str, Any]:
    """What builds the denoiser again: see `save_denoiser`."""
    return {
        "net": data_arguments(data) | params.model.model_dump() | {"mirrored": params.train.flips},
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": params.train.target,
        "class_names": list(data.class_names),
    }


def training_of(params: Params, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training that params describe, not begun: its step for `fit`, and its learner."""
    torch.manual_seed(params.seed)
    net = build_net(describe(params, data)["net"])
    augmented = partial(mirrored, num_classes=data.num_classes) if params.train.flips else None
    return denoiser_training(net, data.images, data.labels, params, params.train, device, precision, augmented)


if __name__ == "__main__":
    run(main)
