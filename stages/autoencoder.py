"""Stage `autoencoder`: maps images to small latents that stand in for them, and back."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.data import Dataset, load_both, save_sheet, to_float, to_uint8
from diffusion.latents.autoencoder import decode, encode, reconstruction_loss, save_autoencoder, standardise
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.runtime import place
from diffusion.training.loop import Learner, Update, state_of, training_step
from diffusion.training.optimiser import Optimiser
from diffusion.transfer import all_sent
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.machine import machine_of
from stages.shared.outputs import write_json
from stages.shared.together import in_processes
from stages.shared.training import Learners, Training

SHEET_COLUMNS = 16
WARMUP_STEPS = 50
HISTORY = ("loss", "error", "kl")


def main(params: LatentParams, *, data: Path, model: Path, results: Path) -> None:
    """Train on --data; write the weights with the mean and std of the latents to --model, and figures to --results."""
    settings, machine = params.autoencoder, machine_of(params)
    train, test = load_both(data)
    update, learners = training_of(params, train, *machine)
    net = learners["autoencoder"].net

    def save() -> None:
        standardise(net, train.images)
        save_autoencoder(model, net, describe(params, train.images))
        write_figures(results, net, test.images)

    depends_on, files = params.model_dump(include={"seed", "shards", "autoencoder"}), [data / "train.safetensors"]
    training = Training("autoencoder", update, state_of(learners), settings, machine, depends_on, files, HISTORY)
    training.run(results, params, save)


def write_figures(results: Path, net: Autoencoder, images: Tensor) -> None:
    """Write how close reconstructions of test images are to them, and their latents to a standard normal."""
    latents = encode(net, images)
    reconstructed = to_uint8(decode(net, latents)).cpu()
    shown = images[:SHEET_COLUMNS]
    save_sheet(results / "reconstructions.png", torch.cat([shown, reconstructed[: len(shown)]]), len(shown))
    figures = {
        "image_shape": list(images.shape[1:]),
        "latent_shape": list(net.latent_shape),
        "n_test": len(images),
        "rms_error": (to_float(reconstructed) - to_float(images)).square().mean().sqrt().item(),
        "test_latents": {"mean": latents.mean().item(), "std": latents.std().item()},
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    write_json(results / "metrics.json", figures)


def describe(params: LatentParams, images: Tensor) -> dict[str, Any]:
    """The arguments that build the autoencoder of images (N, C, H, W)."""
    wanted = {"latent_channels": params.autoencoder.latent_channels, "channels": params.autoencoder.channels}
    return {"image_size": images.shape[-1], "image_channels": images.shape[1], **wanted}


def training_of(params: LatentParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training that params describe, not begun: its step for `fit`, and its learner."""
    settings = params.autoencoder
    torch.manual_seed(params.seed)
    net = place(Autoencoder(**describe(params, data.images)), device)
    loss = reconstruction_loss(net, kl_weight=settings.kl_weight, precision=precision)
    optimiser = Optimiser(net.parameters(), settings.learning_rate, settings.steps, warmup_steps=WARMUP_STEPS)
    learners = {"autoencoder": Learner(net, loss, optimiser)}
    items, labels = all_sent(data.images, device), data.labels.to(device)
    update = training_step(
        learners,
        items,
        labels,
        batch_size=settings.batch_size,
        seed=params.seed,
        purpose="autoencoder",
        shards=params.shards,
    )
    return update, learners


if __name__ == "__main__":
    run(main, in_processes)
