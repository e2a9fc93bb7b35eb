"""Stage `train`: the denoiser, and a bad version of it, which is the same early in its training.

It writes weights, history and clock, nothing else, so plots and metrics never retrain.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.data import Dataset, load_split
from diffusion.denoiser import save_denoiser
from diffusion.loss import mirrored
from diffusion.nets.table import build_net
from diffusion.training.loop import Update, state_of
from diffusion.training.optimiser import Ema
from stages.params.keys import TrainPixels
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.denoiser_training import denoiser_training
from stages.shared.machine import machine_of
from stages.shared.model_record import write_model_record
from stages.shared.training import Learners, Training, data_arguments


def main(params: Params, *, data: Path, model: Path, early: Path, results: Path) -> None:
    """Train on --data, write the EMA weights to --model and those of an early step to --early, loss curve, timing and
    record of the model to --results."""
    machine = machine_of(params)
    split = data / "train.safetensors"
    train = load_split(split)
    description = describe(params, train)
    update, learners = training_of(params, train, *machine)
    denoiser = learners["denoiser"]
    update, early_ema = keeping_early(update, denoiser.net, params.train)
    state = {**state_of(learners), "early": early_ema}
    depends_on = params.model_dump(include={"seed", "shards", "schedule", "timesteps", "model", "train"})
    training = Training("denoiser", update, state, params.train, machine, depends_on, [split])

    def save() -> None:
        save_denoiser(model, denoiser.weights(), description)
        save_denoiser(early, early_ema.state_dict(), description)
        write_model_record(results / "model.json", model, params.train.steps)

    training.run(results, params.checkpoint_seconds, save)


def describe(params: Params, data: Dataset) -> dict[str, Any]:
    """What builds the denoiser again: see `save_denoiser`."""
    return {
        "net": data_arguments(data) | params.model.model_dump() | {"mirrored": params.train.flips},
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": params.train.target,
        "class_names": list(data.class_names),
    }


def keeping_early(update: Update, net: nn.Module, train: TrainPixels) -> tuple[Update, Ema]:
    """The same training step, and the average of the weights of `net` that stands still after an early step."""
    early, last = Ema(net, train.ema_decay), max(1, round(train.early_share * train.steps))

    def update_both(step: int) -> dict[str, Tensor]:
        logged = update(step)
        if step < last:
            early.update(net, step)
        return logged

    return update_both, early


def training_of(params: Params, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training that params describe, not begun: its step for `fit`, and its learner."""
    torch.manual_seed(params.seed)
    net = build_net(describe(params, data)["net"])
    augmented = partial(mirrored, num_classes=data.num_classes) if params.train.flips else None
    return denoiser_training(net, data.images, data.labels, params, params.train, device, precision, augmented)


if __name__ == "__main__":
    run(main)
