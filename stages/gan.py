"""Stage `gan`: a generative adversarial network, to hold the denoiser against. Writes weights, history and clock."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffusion.baselines.gan import GanModel, gan_update
from diffusion.baselines.gan_nets import Discriminator, Generator
from diffusion.data import Dataset
from diffusion.training.optimiser import Ema, Optimiser
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.opponent import train_opponent
from stages.shared.training import State, Update, made_for

WARMUP_STEPS = 50
HISTORY = ("loss", "discriminator_loss", "penalty", "grad_norm", "learning_rate")


def main(params: BaselineParams, *, data: Path, model: Path, report: Path) -> None:
    """Train on --data, write the generator's EMA weights to --model and the loss curves and timing to --report."""
    train_opponent("gan", params, data, model, report, generator_arguments, training_of, HISTORY)


def generator_arguments(params: BaselineParams, data: Dataset) -> dict[str, Any]:
    """What builds the generator."""
    return made_for(data) | params.gan.model_dump(include={"latent", "patch", "channels", "blocks"})


def training_of(params: BaselineParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, State]:
    """The training that params ask for, not begun: its step for `fit`, and its state (net, ema, optimisers)."""
    settings = params.gan
    torch.manual_seed(params.seed)
    shape = settings.model_dump(include={"patch", "channels", "blocks"})
    nets = nn.ModuleDict(
        {
            "generator": Generator(**generator_arguments(params, data)),
            "discriminator": Discriminator(**made_for(data), **shape),
        }
    ).to(device, memory_format=torch.channels_last)
    ema = Ema(nets["generator"], settings.ema_decay)
    optimisers = {
        name: Optimiser(
            net.parameters(),
            settings.learning_rate,
            settings.steps,
            warmup_steps=WARMUP_STEPS,
            beta1=settings.adam_beta1,
        )
        for name, net in nets.items()
    }
    update = gan_update(
        GanModel(nets["generator"], precision),
        nets["discriminator"],
        ema,
        (optimisers["generator"], optimisers["discriminator"]),
        data.images.to(device),
        data.labels.to(device),
        batch_size=settings.batch_size,
        latent=settings.latent,
        r1_weight=settings.r1_weight,
        r1_every=settings.r1_every,
        seed=params.seed,
    )
    return update, {"net": nets, "ema": ema, **{f"{name}_optimiser": part for name, part in optimisers.items()}}


if __name__ == "__main__":
    run(main)
