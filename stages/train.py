"""Stage `train`: the denoiser. Writes weights, history and clock, nothing else, so plots and metrics never retrain."""

import argparse
import sys
from pathlib import Path

import torch

from diffusion.checkpoint import Checkpoints, fingerprint
from diffusion.data import load_split
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

    description = {
        "net": {
            "image_size": data.images.shape[-1],
            "image_channels": data.images.shape[1],
            "num_classes": len(data.class_names),
            **params.model.model_dump(),
        },
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": train.target,
        "class_names": list(data.class_names),
    }
    torch.manual_seed(params.seed)
    net = UNet(**description["net"]).to(device, memory_format=torch.channels_last)
    denoiser = Denoiser(net, noise_schedule(params.schedule, params.timesteps), train.target, precision)
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
    update = denoising_update(
        denoiser,
        ema,
        optimiser,
        data.images.to(device),
        data.labels.to(device),
        batch_size=train.batch_size,
        label_dropout=train.label_dropout,
        null_label=net.null_label,
        weighting=train.weighting,
        seed=params.seed,
    )

    settings = params.model_dump(include={"seed", "schedule", "timesteps", "model", "train"})
    name = fingerprint(
        "train", settings, str(device), precision, files=[arguments.data / "train.safetensors", *sources()]
    )
    state = {"net": net, "ema": ema, "optimiser": optimiser}
    with Checkpoints(checkpoints_folder() / name, train.checkpoint_seconds) as checkpoints:
        steps = fit(update, state, train.steps, train.log_every, checkpoints)
        steps = watched(steps, "denoiser", train.steps, train.batch_size)
        rows = ((step, *(means[name] for name in HISTORY)) for step, means in steps)
        write_table(arguments.report / "history.csv", ("step", *HISTORY), rows)
        save_denoiser(arguments.model, ema.net.state_dict(), description)
        timing = {
            "seconds": round(checkpoints.seconds, 1),
            "images_per_second": round(train.steps * train.batch_size / checkpoints.seconds, 1),
            "peak_memory_mib": peak_memory_mib(),
            "parameters": sum(p.numel() for p in net.parameters()),
            "batch_size": train.batch_size,
            **describe_machine(device, precision),
        }
        write_json(arguments.report / "timing.json", timing)


def sources() -> list[Path]:
    """The files of this project's code that this process runs: a checkpoint of other code is not resumed."""
    modules = (module for name, module in sys.modules.items() if name.split(".")[0] in ("diffusion", "stages"))
    return [Path(__file__), *(Path(module.__file__) for module in modules if module.__file__)]


if __name__ == "__main__":
    run(main, "data", "model", "report")
