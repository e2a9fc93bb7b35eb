"""Stage `gan`: a generative adversarial network, as a baseline for the denoiser. Writes weights, history and clock."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffusion.baselines.gan import GanModel, discriminator_loss, generator_loss
from diffusion.baselines.gan_nets import Discriminator, Generator
from diffusion.data import Dataset
from diffusion.training.loop import Learner, Update, training_step
from diffusion.training.optimiser import Ema, Optimiser
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.training import Learners, made_for, train_baseline

WARMUP_STEPS = 50
HISTORY = ("loss", "discriminator_loss", "penalty", "grad_norm", "learning_rate")


def main(params: BaselineParams, *, data: Path, model: Path, report: Path) -> None:
    """Train on --data, write the generator's EMA weights to --model and the loss curves and timing to --report."""
    train_baseline("gan", params, data, model, report, generator_arguments, training_of, HISTORY)


def generator_arguments(params: BaselineParams, data: Dataset) -> dict[str, Any]:
    """What builds the generator."""
    return made_for(data) | params.gan.model_dump(include={"latent", "patch", "channels", "blocks"})


def training_of(params: BaselineParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training that params describe, not begun: its step for `fit`, and its learners, the discriminator first."""
    settings = params.gan
    torch.manual_seed(params.seed)
    shape = settings.model_dump(include={"patch", "channels", "blocks"})
    generator = Generator(**generator_arguments(params, data)).to(device, memory_format=torch.channels_last)
    discriminator = Discriminator(**made_for(data), **shape).to(device, memory_format=torch.channels_last)
    model, latent = GanModel(generator, precision), settings.latent
    penalty = {"r1_weight": settings.r1_weight, "r1_every": settings.r1_every}
    optimiser = partial(
        Optimiser,
        learning_rate=settings.learning_rate,
        num_steps=settings.steps,
        warmup_steps=WARMUP_STEPS,
        beta1=settings.adam_beta1,
    )
    learners = {
        "discriminator": Learner(
            discriminator,
            discriminator_loss(model, discriminator, latent=latent, **penalty),
            optimiser(discriminator.parameters()),
        ),
        "generator": Learner(
            generator,
            generator_loss(model, discriminator, latent=latent),
            optimiser(generator.parameters()),
            Ema(generator, settings.ema_decay),
        ),
    }
    items, labels = data.images.to(device), data.labels.to(device)
    options = {"batch_size": settings.batch_size, "seed": params.seed, "purpose": "gan"}
    return training_step(learners, items, labels, **options), learners


if __name__ == "__main__":
    run(main)
