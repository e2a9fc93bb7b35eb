"""Stage `train_latent`: a denoiser of latents, told by a caption what to draw."""

import argparse
from typing import Any

import torch

from diffusion.autoencoder import encoded, load_autoencoder, refuse_other_images
from diffusion.captions import Captions
from diffusion.data import load_split
from diffusion.latent import numbering, padded, save_latent, text_unet
from diffusion.nets.text import PAD
from stages.command import run
from stages.denoiser_training import denoiser_training
from stages.machine import machine_of
from stages.params import Params
from stages.training import Training, refuse_larger_batch


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Train on --captions of the images in --data, in the latents of --autoencoder; write --model and --report."""
    machine = machine_of(params)
    device, precision = machine
    split, train = arguments.data / "train.safetensors", params.train_latent
    data = load_split(split)
    captions = Captions.load(arguments.captions, data.class_names, train=len(data.images))
    autoencoder, autoencoder_arguments = load_autoencoder(arguments.autoencoder, device)
    refuse_other_images(arguments.autoencoder, autoencoder_arguments, data.images.shape[1:])
    pairs = [(image, text) for image, texts in enumerate(captions.texts) for text in texts]
    refuse_larger_batch("train_latent", train, len(pairs))

    description = describe(params, captions, autoencoder.latent_shape, autoencoder_arguments, data.class_names)
    numbers = numbering(description["text"], description["vocabulary"])
    tokens = padded([numbers(text) for _, text in pairs]).to(device)
    latents = encoded(autoencoder, data.images)[[image for image, _ in pairs]]

    torch.manual_seed(params.seed)
    net = text_unet(description["net"], description["text"], len(description["vocabulary"]))
    net = net.to(device, memory_format=torch.channels_last)
    update, state = denoiser_training(net, latents, tokens, PAD, params, train, precision)
    followed = params.model_dump(include={"seed", "schedule", "timesteps", "text", "latent", "train_latent"})
    files = [split, arguments.autoencoder, arguments.captions / "train.txt"]
    training = Training("latent denoiser", update, state, train, machine, followed, files)
    training.run(
        arguments.report, lambda: save_latent(arguments.model, state["ema"].state_dict(), autoencoder, description)
    )


def describe(
    params: Params,
    captions: Captions,
    latent_shape: tuple[int, int, int],
    autoencoder_arguments: dict[str, Any],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """What it takes to build the model again: see `save_latent`."""
    channels, _, size = latent_shape
    net = {"image_size": size, "image_channels": channels, "num_classes": 0, "patch": 1, **params.latent.model_dump()}
    return {
        "net": net,
        "text": params.text.model_dump(),
        "vocabulary": list(captions.vocabulary.words),
        "autoencoder": autoencoder_arguments,
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": params.train_latent.target,
        "class_names": list(class_names),
    }


if __name__ == "__main__":
    run(main, "data", "captions", "autoencoder", "model", "report")
