"""Stage `vae`: a variational autoencoder, to hold the denoiser against. Writes weights, history and clock."""

from pathlib import Path
from typing import Any

import torch

from diffusion.baselines.vae import VaeModel, vae_update
from diffusion.baselines.vae_net import Vae
from diffusion.data import Dataset
from diffusion.training.optimiser import Ema, Optimiser
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.opponent import train_opponent
from stages.shared.training import State, Update, made_for

WARMUP_STEPS = 100
HISTORY = ("loss", "kl", "grad_norm", "learning_rate")


def main(params: BaselineParams, *, data: Path, model: Path, report: Path) -> None:
    """Train on --data, write the EMA weights to --model and the loss curve and timing to --report."""
    train_opponent("vae", params, data, model, report, net_arguments, training_of, HISTORY)


def net_arguments(params: BaselineParams, data: Dataset) -> dict[str, Any]:
    """What builds the network."""
    return made_for(data) | params.vae.model_dump(include={"latent", "mixtures", "patch", "channels", "blocks"})


def training_of(params: BaselineParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, State]:
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
    run(main)
