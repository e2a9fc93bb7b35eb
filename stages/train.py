"""Stage `train`: the denoiser. Writes weights, history and clock, nothing else, so plots and metrics never retrain."""

from pathlib import Path
from typing import Any

import torch

from diffusion.data import Dataset, load_split
from diffusion.denoiser import save_denoiser
from diffusion.nets.unet import UNet
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.denoiser_training import denoiser_training
from stages.shared.machine import machine_of
from stages.shared.model_record import write_model_record
from stages.shared.training import State, Training, Update, made_for, refuse_larger_batch


def main(params: Params, *, data: Path, model: Path, report: Path) -> None:
    """Train on --data, write the EMA weights to --model and loss curve, timing and record of the model to --report."""
    machine = machine_of(params)
    split = data / "train.safetensors"
    train = load_split(split)
    refuse_larger_batch("train", params.train, len(train.images))
    description = describe(params, train)
    update, state = training_of(params, train, *machine)
    followed = params.model_dump(include={"seed", "schedule", "timesteps", "model", "train"})
    training = Training("denoiser", update, state, params.train, machine, followed, [split])

    def save() -> None:
        save_denoiser(model, state["ema"].state_dict(), description)
        write_model_record(report / "model.json", model, params.train.steps)

    training.run(report, save)


def describe(params: Params, data: Dataset) -> dict[str, Any]:
    """What it takes to build the denoiser again: see `save_denoiser`."""
    return {
        "net": made_for(data) | params.model.model_dump(),
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": params.train.target,
        "class_names": list(data.class_names),
    }


def training_of(params: Params, data: Dataset, device: torch.device, precision: str) -> tuple[Update, State]:
    """The training that params ask for, not begun: its step for `fit`, and its state (net, ema, optimiser)."""
    torch.manual_seed(params.seed)
    net = UNet(**describe(params, data)["net"]).to(device, memory_format=torch.channels_last)
    images, labels = data.images.to(device), data.labels.to(device)
    return denoiser_training(net, images, labels, net.null_label, params, params.train, precision)


if __name__ == "__main__":
    run(main)
