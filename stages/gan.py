"""Stage `gan`: a generative adversarial network, as a baseline for the denoiser. Writes weights, history and clock."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffusion.baselines.gan import GanModel, discriminator_loss, generator_loss
from diffusion.baselines.gan_nets import Discriminator, Generator
from diffusion.data import Dataset
from diffusion.runtime import place
from diffusion.training.loop import Learner, Update, training_step
from diffusion.training.optimiser import Ema, Optimiser
from diffusion.transfer import all_sent
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.together import in_processes
from stages.shared.training import Learners, data_arguments, train_baseline

WARMUP_STEPS = 50
HISTORY = ("loss", "discriminator_loss", "penalty", "grad_norm", "learning_rate")


def main(params: BaselineParams, *, data: Path, model: Path, results: Path) -> None:
    """Train on --data, write the generator's EMA weights to --model and the loss curves and timing to --results."""
    train_baseline("gan", params, data, model, results, generator_arguments, training_of, HISTORY)


def generator_arguments(params: BaselineParams, data: Dataset) -> dict[str, Any]:
    """What builds the generator."""
    return data_arguments(data) | params.gan.model_dump(include={"latent", "patch", "channels", "blocks"})


def training_of(params: BaselineParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training that params describe, not begun: its step for `fit`, and its learners, the discriminator first."""
    settings = params.gan
    torch.manual_seed(params.seed)
    shape: dict[str, Any] = settings.model_dump(include={"patch", "channels", "blocks"})
    generator = place(Generator(**generator_arguments(params, data)), device)
    discriminator = place(Discriminator(**data_arguments(data) | shape), device)
    model, latent = GanModel(generator, precision), settings.latent
    optimiser = partial(
        Optimiser,
        learning_rate=settings.learning_rate,
        num_steps=settings.steps,
        warmup_steps=WARMUP_STEPS,
        beta1=settings.adam_beta1,
    )
    learners: Learners = {
        "discriminator": Learner(
            discriminator,
            discriminator_loss(
                model, discriminator, latent=latent, r1_weight=settings.r1_weight, r1_every=settings.r1_every
            ),
            optimiser(discriminator.parameters()),
        ),
        "generator": Learner(
            generator,
            generator_loss(model, discriminator, latent=latent),
            optimiser(generator.parameters()),
            Ema(generator, settings.ema_decay),
        ),
    }
    items, labels = all_sent(data.images, device), data.labels.to(device)
    update = training_step(
        learners,
        items,
        labels,
        batch_size=settings.batch_size,
        seed=params.seed,
        purpose="gan",
        shards=params.shards,
    )
    return update, learners


if __name__ == "__main__":
    run(main, in_processes)
