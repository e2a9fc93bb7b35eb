"""Stage `vae`: a variational autoencoder, to hold the denoiser against. Writes weights, history and clock."""

import argparse
from typing import Any

import torch

from diffusion.checkpoint import save_tensors
from diffusion.data import Dataset, load_split
from diffusion.nets.vae import Vae
from diffusion.training import Ema, Optimiser
from diffusion.vae import VaeModel, vae_update
from stages.command import run
from stages.params import Params
from stages.training import State, Update, machine_of, made_for, refuse_larger_batch, train_to_the_end

WARMUP_STEPS = 100
HISTORY = ("loss", "kl", "grad_norm", "learning_rate")


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Train on --data, write the EMA weights to --model and the loss curve and timing to --report."""
    machine = machine_of(params)
    split = arguments.data / "train.safetensors"
    data = load_split(split)
    refuse_larger_batch("vae", params.vae, len(data.images))
    update, state = training_of(params, data, *machine)
    description = {"kind": "vae", "net": net_arguments(params, data), "class_names": list(data.class_names)}
    train_to_the_end(
        "vae",
        update,
        state,
        params.vae,
        depends_on=[params.model_dump(include={"seed", "vae"})],
        files=[split],
        save=lambda: save_tensors(arguments.model, state["ema"].state_dict(), description),
        report=arguments.report,
        machine=machine,
        columns=HISTORY,
    )


def net_arguments(params: Params, data: Dataset) -> dict[str, Any]:
    """What builds the network."""
    return made_for(data) | params.vae.model_dump(include={"latent", "mixtures", "patch", "channels", "blocks"})


def training_of(params: Params, data: Dataset, device: torch.device, precision: str) -> tuple[Update, State]:
    """The training that params ask for, not begun: its step for `fit`, and its state (net, ema, optimiser)."""
    settings = params.vae
    torch.manual_seed(params.seed)
    net = Vae(**net_arguments(params, data)).to(device, memory_format=torch.channels_last)
    ema = Ema(net, settings.ema_decay)
    optimiser = Optimiser(
        net.parameters(),
        settings.learning_rate,
        settings.steps,
        weight_decay=settings.weight_decay,
        warmup_steps=WARMUP_STEPS,
    )
    update = vae_update(
        VaeModel(net, precision),
        ema,
        optimiser,
        data.images.to(device),
        data.labels.to(device),
        batch_size=settings.batch_size,
        kl_weight=settings.kl_weight,
        kl_warmup_steps=settings.kl_warmup_steps,
        seed=params.seed,
    )
    return update, {"net": net, "ema": ema, "optimiser": optimiser}


if __name__ == "__main__":
    run(main, "data", "model", "report")
