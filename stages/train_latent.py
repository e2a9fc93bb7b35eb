"""Stage `train_latent`: a denoiser of latents, conditioned on captions."""

from pathlib import Path
from typing import Any

import torch

from diffusion.data import load_split
from diffusion.latents.autoencoder import encode, load_autoencoder, refuse_other_images
from diffusion.latents.captions import Captions
from diffusion.latents.model import Words, described, save_latent, text_unet
from diffusion.latents.pretrained import refuse_classes_read_alike
from diffusion.latents.text import PretrainedEncoder
from diffusion.training.loop import state_of
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.denoiser_training import denoiser_training
from stages.shared.machine import machine_of
from stages.shared.together import in_processes
from stages.shared.training import Training


def main(params: LatentParams, *, data: Path, captions: Path, autoencoder: Path, model: Path, results: Path) -> None:
    """Train on --captions of the images in --data, in the latents of --autoencoder; write --model and --results."""
    machine = machine_of(params)
    device = machine.device
    split, settings = data / "train.safetensors", params.train_latent
    train = load_split(split)
    captioned = Captions.load(captions, train.class_names, train=len(train.images))
    encoder, encoder_arguments = load_autoencoder(autoencoder, device)
    refuse_other_images(autoencoder, encoder_arguments, train.images.shape[1:])
    pairs = [(image, text) for image, texts in enumerate(captioned.texts) for text in texts]

    description = describe(params, captioned, encoder.latent_shape, encoder_arguments, train.class_names)
    words = Words(description["text"], description["vocabulary"])
    refuse_classes_read_alike([(word, words.numbers(word)) for word in captioned.class_words])
    tokens = words.tokens([text for _, text in pairs])
    words.remember(tokens)
    latents = encode(encoder, train.images)[[image for image, _ in pairs]]

    torch.manual_seed(params.seed)
    net = text_unet(description["net"], description["text"], len(description["vocabulary"]))
    conditions = tokens
    if isinstance(net.text, PretrainedEncoder):
        net.text, conditions = net.text.tabled(tokens, device)
    update, learners = denoiser_training(net, latents, conditions, params, settings, *machine)
    determines = {"seed", "shards", "schedule", "timesteps", "text", "latent", "train_latent"}
    depends_on = params.model_dump(include=determines)
    files = [split, autoencoder, captions / "train.txt"]
    training = Training("latent denoiser", update, state_of(learners), settings, machine, depends_on, files)
    training.run(
        results,
        params,
        lambda: save_latent(model, learners["denoiser"].weights(), encoder, description),
    )


def describe(
    params: LatentParams,
    captions: Captions,
    latent_shape: tuple[int, int, int],
    autoencoder_arguments: dict[str, Any],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """What builds the model again: see `save_latent`."""
    channels, _, size = latent_shape
    net = {"image_size": size, "image_channels": channels, "num_classes": 0, "patch": 1, **params.latent.model_dump()}
    return {
        "net": net,
        "text": described(params.text.model_dump()),
        "vocabulary": list(captions.vocabulary.words),
        "autoencoder": autoencoder_arguments,
        "schedule": params.schedule,
        "timesteps": params.timesteps,
        "target": params.train_latent.target,
        "class_names": list(class_names),
    }


if __name__ == "__main__":
    run(main, in_processes)
