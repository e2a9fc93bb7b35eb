"""Stage `train`: the denoiser. Writes weights, history and clock, nothing else, so plots and metrics never retrain."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.checkpoint import Checkpoints, fingerprint
from diffusion.data import Dataset, load_split
from diffusion.denoiser import Denoiser, save_denoiser
from diffusion.nets.unet import UNet
from diffusion.runtime import describe_machine, peak_memory_mib, pick_device, pick_precision, prepare_machine
from diffusion.schedule import noise_schedule
from diffusion.training import Ema, Optimiser, denoising_update, fit
from stages.command import checkpoints_folder, run
from stages.outputs import write_json, write_table
from stages.params import Params
from stages.progress import watched

HISTORY = ("loss", "grad_norm", "learning_rate")


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Train on --data, write the EMA weights to --model and the loss curve and timing to --report."""
    train = params.train
    device = pick_device(params.device)
    precision = pick_precision(params.precision, device)
    prepare_machine(device)
    data = load_split(arguments.data / "train.safetensors")
    if train.batch_size > len(data.images):
        raise ValueError(
            f"train.batch_size: {train.batch_size} is not possible (allowed: 1 to {len(data.images)} images)"
        )

    description = describe(params, data)
    update, state = training_of(params, data, device, precision)
    settings = params.model_dump(include={"seed", "schedule", "timesteps", "model", "train"})
    name = fingerprint(
        "train", settings, str(device), precision, files=[arguments.data / "train.safetensors", *sources()]
    )
    with Checkpoints(checkpoints_folder() / name, train.checkpoint_seconds) as checkpoints:
        steps = fit(update, state, train.steps, train.log_every, checkpoints)
        steps = watched(steps, "denoiser", train.steps, train.batch_size)
        rows = ((step, *(means[name] for name in HISTORY)) for step, means in steps)
        write_table(arguments.report / "history.csv", ("step", *HISTORY), rows)
        save_denoiser(arguments.model, state["ema"].state_dict(), description)
        timing = {
            "seconds": round(checkpoints.seconds, 1),
            "images_per_second": round(train.steps * train.batch_size / checkpoints.seconds, 1),
            "peak_memory_mib": peak_memory_mib(),
            "parameters": sum(p.numel() for p in state["net"].parameters()),
            "batch_size": train.batch_size,
            **describe_machine(device, precision),
        }
        write_json(arguments.report / "timing.json", timing)


def describe(params: Params, data: Dataset) -> dict[str, Any]:
    """What it takes to build the denoiser again: see `save_denoiser`."""
    net = {
        "image_size": data.images.shape[-1],
        "image_channels": data.images.shape[1],
        "num_classes": len(data.class_names),
        **params.model.model_dump(),
    }
    return {
        "net": net,
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": params.train.target,
        "class_names": list(data.class_names),
    }


def training_of(
    params: Params, data: Dataset, device: torch.device, precision: str
) -> tuple[Callable[[int], dict[str, Tensor]], dict[str, Any]]:
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


def sources() -> list[Path]:
    """The files of this project's code that this process runs: a checkpoint of other code is not resumed."""
    modules = (module for name, module in sys.modules.items() if name.split(".")[0] in ("diffusion", "stages"))
    return [Path(__file__), *(Path(module.__file__) for module in modules if module.__file__)]


if __name__ == "__main__":
    run(main, "data", "model", "report")
