"""Stage `train`: the denoiser. Writes weights, history and clock, nothing else, so plots and metrics never retrain."""

import argparse
from typing import Any

import torch

from diffusion.data import Dataset, load_split
from diffusion.denoiser import Denoiser, save_denoiser
from diffusion.nets.unet import UNet
from diffusion.schedule import noise_schedule
from diffusion.training import Ema, Optimiser, denoising_update
from stages.command import run
from stages.params import Params
from stages.training import State, Update, machine_of, made_for, refuse_larger_batch, train_to_the_end


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Train on --data, write the EMA weights to --model and the loss curve and timing to --report."""
    machine = machine_of(params)
    split = arguments.data / "train.safetensors"
    data = load_split(split)
    refuse_larger_batch("train", params.train, len(data.images))
    description = describe(params, data)
    update, state = training_of(params, data, *machine)
    train_to_the_end(
        "denoiser",
        update,
        state,
        params.train,
        depends_on=[params.model_dump(include={"seed", "schedule", "timesteps", "model", "train"})],
        files=[split],
        save=lambda: save_denoiser(arguments.model, state["ema"].state_dict(), description),
        report=arguments.report,
        machine=machine,
    )


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
    train = params.train
    torch.manual_seed(params.seed)
    net = UNet(**describe(params, data)["net"]).to(device, memory_format=torch.channels_last)
    ema = Ema(net, train.ema_decay)
    optimiser = Optimiser(
        net.parameters(),
        train.learning_rate,
        train.steps,
        weight_decay=train.weight_decay,
        warmup_steps=train.warmup_steps,
        max_grad_norm=train.max_grad_norm,
        decay=train.decay,
        beta2=train.adam_beta2,
    )
    model = torch.compile(net, mode="reduce-overhead") if train.compile else net
    update = denoising_update(
        Denoiser(model, noise_schedule(params.schedule, params.timesteps), train.target, precision),
        ema,
        optimiser,
        data.images.to(device),
        data.labels.to(device),
        batch_size=train.batch_size,
        label_dropout=train.label_dropout,
        null_label=net.null_label,
        times=train.times,
        weighting=train.weighting,
        seed=params.seed,
    )
    return update, {"net": net, "ema": ema, "optimiser": optimiser}


if __name__ == "__main__":
    run(main, "data", "model", "report")
