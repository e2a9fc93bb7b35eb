"""Stage `vae`: a variational autoencoder, as a baseline for the denoiser. Writes weights, history and clock."""

from pathlib import Path
from typing import Any

import torch

from diffusion.baselines.vae import VaeModel, vae_loss
from diffusion.baselines.vae_net import Vae
from diffusion.data import Dataset
from diffusion.runtime import place
from diffusion.training.loop import Learner, Update, training_step
from diffusion.training.optimiser import Ema, Optimiser
from diffusion.transfer import all_sent
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.together import in_processes
from stages.shared.training import Learners, data_arguments, train_baseline

WARMUP_STEPS = 100
HISTORY = ("loss", "kl", "grad_norm", "learning_rate")


def main(params: BaselineParams, *, data: Path, model: Path, results: Path) -> None:
    """Train on --data, write the EMA weights to --model and the loss curve and timing to --results."""
    train_baseline("vae", params, data, model, results, net_arguments, training_of, HISTORY)


def net_arguments(params: BaselineParams, data: Dataset) -> dict[str, Any]:
    """What builds the network."""
    return data_arguments(data) | params.vae.model_dump(include={"latent", "mixtures", "patch", "channels", "blocks"})


def training_of(params: BaselineParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training that params describe, not begun: its step for `fit`, and its learner."""
    settings = params.vae
    torch.manual_seed(params.seed)
    net = place(Vae(**net_arguments(params, data)), device)
    loss = vae_loss(VaeModel(net, precision), kl_weight=settings.kl_weight, kl_warmup_steps=settings.kl_warmup_steps)
    optimiser = Optimiser(
        net.parameters(),
        settings.learning_rate,
        settings.steps,
        weight_decay=settings.weight_decay,
        warmup_steps=WARMUP_STEPS,
    )
    learners = {"vae": Learner(net, loss, optimiser, Ema(net, settings.ema_decay))}
    items, labels = all_sent(data.images, device), data.labels.to(device)
    update = training_step(
        learners,
        items,
        labels,
        batch_size=settings.batch_size,
        seed=params.seed,
        purpose="vae",
        shards=params.shards,
    )
    return update, learners


if __name__ == "__main__":
    run(main, in_processes)
