"""`make study STUDY=larger`: latents against pixels, at the size of the data and at twice that size.

Cost, and quality for the same images seen and for the same seconds. Both models are class-conditional, with the nets
and the recipe of params.yaml; larger images are the same ones scaled up, their autoencoder halves them once more, and
samples are scaled back before the judge sees them. Writes larger.csv and about.json.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.data import classes_in_turn, load_both, to_float, to_uint8
from diffusion.denoiser import Denoiser
from diffusion.generation import ImageModel, of_denoiser, of_latents
from diffusion.latents.autoencoder import decode, encode, standardise
from diffusion.nets.table import build_net
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.judge import Judge
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.ddim import by_ddim
from diffusion.samplers.step import Walk
from diffusion.schedule import noise_schedule
from stages import autoencoder as autoencoder_stage
from stages.params.keys import Train
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.denoiser_training import denoiser_training, net_arguments
from stages.shared.machine import machine_of
from stages.shared.origin import origin_of
from stages.shared.outputs import write_json, write_table
from stages.shared.progress import run_training

IMAGES_SEEN = 64_000
NUM_SAMPLES = 1000
FACTORS = (1, 2)
FIGURES = ("n", "fid", "accuracy", "precision", "coverage")
COLUMNS = ("size", "space", "seen", "seconds", "autoencoder_seconds", "images_per_second", "sample_ms", *FIGURES)


class Space(NamedTuple):
    """What is denoised in place of images, the network for it, and the way back."""

    name: str
    items: Tensor  # (N, ...) of the training images, on the device
    net: dict[str, Any]  # see `build_net`
    train: Train
    image_model: Callable[[Denoiser, Sequence[int], Walk], ImageModel]
    seconds_before: float = 0.0  # spent on the autoencoder


def main(params: LatentParams, *, data: Path, card: Path, judge: Path, report: Path) -> None:
    """Train on --data (its card: --card) in both spaces and sizes, judge by --judge, write to --report."""
    device, precision = machine_of(params)
    train, test = load_both(data)
    reference = Reference(Judge.load(judge, device), train, test, params.seed)
    write_table(report / "larger.csv", COLUMNS, rows(params, reference, device, precision))
    about = {"params": params.model_dump(include={"seed", "schedule", "timesteps", "data", "model", "train", "latent"})}
    write_json(report / "about.json", origin_of(card) | about | describe_machine(device, precision))


def rows(params: LatentParams, reference: Reference, device: torch.device, precision: str) -> Iterator[list[object]]:
    """Yield COLUMNS for every size: latents, pixels for as many images, pixels for as many seconds."""
    for factor in FACTORS:
        images = scale(reference.train.images, factor)
        latents = latent_space(halve_more(params, factor), images, reference, device, precision)
        pixels = pixel_space(params, images, reference, device)
        first = measure(params, latents, IMAGES_SEEN, reference, factor, precision)
        yield first
        second = measure(params, pixels, IMAGES_SEEN, reference, factor, precision)
        yield second
        seconds, rate = first[3] + first[4], second[5]
        yield measure(params, pixels, round(seconds * rate), reference, factor, precision)


def scale(images: Tensor, factor: float) -> Tensor:
    """Scale the sides of uint8 images (N, C, H, W) by `factor`; down by means, so that scaling up is undone."""
    mode = {"mode": "bilinear", "align_corners": False} if factor > 1 else {"mode": "area"}
    return images if factor == 1 else to_uint8(F.interpolate(to_float(images), scale_factor=factor, **mode))


def halve_more(params: LatentParams, factor: int) -> LatentParams:
    """Params whose autoencoder makes latents as large as those of the images before they were scaled up."""
    widths = params.autoencoder.channels
    channels = [*widths, *[widths[-1]] * round(math.log2(factor))]
    return params.model_copy(update={"autoencoder": params.autoencoder.model_copy(update={"channels": channels})})


def latent_space(
    params: LatentParams, images: Tensor, reference: Reference, device: torch.device, precision: str
) -> Space:
    """Train an autoencoder; the latents of the images are the items."""
    settings = params.autoencoder
    update, learners = autoencoder_stage.training_of(params, replace(reference.train, images=images), device, precision)
    with stopwatch(device) as elapsed:
        run_training("autoencoder", update, learners, settings.steps, settings.batch_size, settings.log_every)
    net = learners["autoencoder"].net.eval().requires_grad_(False)
    standardise(net, images)
    arguments = arguments_of(net.latent_shape, reference) | {"patch": 1, **params.latent.model_dump()}
    image_model = partial(of_latents, decode=partial(decode, net))
    return Space("latent", encode(net, images), arguments, params.train_latent, image_model, elapsed[0])


def pixel_space(params: LatentParams, images: Tensor, reference: Reference, device: torch.device) -> Space:
    """The images themselves are the items."""
    net = arguments_of(images.shape[1:], reference) | net_arguments(params.model)
    return Space("pixel", images.to(device), net, params.train, of_denoiser)


def arguments_of(shape: tuple[int, int, int], reference: Reference) -> dict[str, Any]:
    """The arguments of the network that follow from the data."""
    return {"image_channels": shape[0], "image_size": shape[-1], "num_classes": len(reference.train.class_names)}


def measure(
    params: LatentParams, space: Space, seen: int, reference: Reference, factor: int, precision: str
) -> list[Any]:
    """Train a denoiser on about `seen` images, sample it and judge: COLUMNS."""
    device, size = space.items.device, space.train.batch_size
    train = space.train.model_copy(update={"steps": max(1, round(seen / size))})
    torch.manual_seed(params.seed)
    net, labels = build_net(space.net), reference.train.labels
    update, learners = denoiser_training(net, space.items, labels, params, train, device, precision)
    with stopwatch(device) as elapsed:
        run_training(f"{space.name}, {factor} x", update, learners, train.steps, size, train.log_every)
    schedule = noise_schedule(params.schedule, params.timesteps)
    denoiser = Denoiser(learners["denoiser"].ema.net, schedule, train.target, precision)
    model = space.image_model(denoiser, space.items.shape[1:], by_ddim(params.sampling.num_steps))
    asked = classes_in_turn(NUM_SAMPLES, reference.train.num_classes)
    with stopwatch(device) as sampling:
        images = model.images(asked, params.seed, "larger", params.sampling.batch_size)
    figures = verdict(reference, scale(images, 1 / factor), asked).as_dict()
    count = train.steps * size
    return [
        *(reference.train.images.shape[-1] * factor, space.name, count, elapsed[0], space.seconds_before),
        *(count / elapsed[0], 1000 * sampling[0] / len(images), *(figures[name] for name in FIGURES)),
    ]


if __name__ == "__main__":
    run(main)
