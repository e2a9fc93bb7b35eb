"""The command `diffusion-sample --out x.png`, with `--labels circle` or `--prompt "a thin three"`.

What --out names decides what is written: a sheet, arrays, a film of the reverse process, or a folder of single images.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.command_line import run_in_one_line
from diffusion.data import classes_in_turn, to_float
from diffusion.denoiser import EVERYWHERE, Denoiser, Wrap, guidance, load_denoiser, refuse_other_model
from diffusion.generation import ImageModel, of_denoiser, of_latents
from diffusion.labels import labels_of
from diffusion.latents.model import load_latent
from diffusion.memory import shortage_explained
from diffusion.runtime import pick_device, pick_precision, prepare_machine
from diffusion.sample_files import write_film, writer
from diffusion.sample_options import (
    DEFAULT_STEPS,
    EARLY_MODEL,
    LABEL_MODEL,
    PROMPT_MODEL,
    known_prompt,
    parser,
    refuse_misused_guidance,
)
from diffusion.samplers.film import filmed
from diffusion.samplers.inpainting import PASSES, inpainted, left_half
from diffusion.samplers.step import Walk
from diffusion.samplers.table import SAMPLERS, SamplerSetting
from diffusion.sources.image_file import read_image


class Request(NamedTuple):
    """What the command line asks for: a model, and the conditions that its images have in turn."""

    model: ImageModel
    conditions: Tensor  # (K, ...), image k has condition k mod K
    names: list[int]  # of the conditions, in an .npz file


def main(arguments: argparse.Namespace) -> None:
    """Sample and write. Raises ValueError for an impossible request, before any work, and MemoryError."""
    write = writer(arguments.out)
    refuse_misused_guidance(arguments)
    if arguments.mask and not arguments.inpaint:
        raise ValueError("--mask: not possible without --inpaint")
    device = pick_device(arguments.device)
    prepare_machine(device)
    deciding = f"--batch-size {arguments.batch_size}, --num {arguments.num}, the model"
    with shortage_explained("sampling", deciding):
        request = (of_prompts if arguments.prompt else of_labels)(arguments, device)
        turns = classes_in_turn(arguments.num, len(request.names))
        conditions = request.conditions[turns.to(request.conditions.device)]
        watch = partial(tqdm, unit="batch")
        images = request.model.images(conditions, arguments.seed, "sample", arguments.batch_size, watch)
        write(arguments.out, images, torch.tensor(request.names)[turns], len(request.names))


def of_labels(arguments: argparse.Namespace, device: torch.device) -> Request:
    """Images of classes, from pixels."""
    path = model_file(arguments.model or LABEL_MODEL, stage="train")
    precision, bad = pick_precision(arguments.precision, device), None
    denoiser, description = load_denoiser(path, device, precision)
    if arguments.autoguidance is not None:
        early = model_file(arguments.early or path.with_name(EARLY_MODEL), stage="train", option="--early")
        bad, of_bad = load_denoiser(early, device, precision)
        refuse_other_model(early, of_bad, description)
    names, net = description["class_names"], description["net"]
    try:
        labels = labels_of(arguments.labels, names) if arguments.labels else [*range(len(names))]
    except ValueError as error:
        raise ValueError(f"--labels: {error}") from error
    shape = (net["image_channels"], net["image_size"], net["image_size"])
    completed = None
    if arguments.inpaint:
        image, mask = given_pixels(arguments, shape)
        completed = image.to(device), mask.to(device)
    walk = walk_of(arguments, denoiser.schedule.timesteps, completed)
    return Request(of_denoiser(denoiser, shape, walk, guidance_by(arguments, bad)), torch.tensor(labels), labels)


def given_pixels(arguments: argparse.Namespace, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """The image of --inpaint (C, H, W) in [-1, 1], and where it is given (bool): its left half, or where --mask is
    black. Raises ValueError for a file that is no image."""
    channels, size, _ = shape
    image = to_float(read_image(arguments.inpaint, size, channels))
    return image, read_image(arguments.mask, size, 1) < 128 if arguments.mask else left_half(size)


def model_file(path: Path, stage: str, option: str = "--model") -> Path:
    """The path itself. Raises ValueError, with the stage that writes such a model, if there is no file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file (stage {stage} writes it; {option} names another)")
    return path


def of_prompts(arguments: argparse.Namespace, device: torch.device) -> Request:
    """Images of prompts, from latents. Raises ValueError for one without words, or with a word that the model lacks."""
    if arguments.inpaint:
        raise ValueError("--inpaint: not possible with --prompt, whose model draws no pixels (allowed: with --labels)")
    path = model_file(arguments.model or PROMPT_MODEL, stage="train_latent")
    model, description = load_latent(path, device, pick_precision(arguments.precision, device))
    for text in arguments.prompt:
        if not any(map(str.isalnum, text)):
            raise ValueError(
                f"--prompt: {text!r:.80} is not possible (allowed: words, like {known_prompt(description)!r})"
            )
    try:
        tokens = model.tokens(arguments.prompt)
    except ValueError as error:
        raise ValueError(f"--prompt: {error}") from error
    for text in arguments.prompt:
        if (read := model.words.understood(text)) != text:  # a word that no caption had, which may mean another here
            print(f"--prompt: {text!r:.80} is read as {read!r:.80}", file=sys.stderr)
    walk = walk_of(arguments, model.denoiser.schedule.timesteps)

    def decode(latents: Tensor) -> Tensor:  # (B, c, h, w), or (B, F, c, h, w) of a film
        return model.autoencoder.decode(latents.flatten(0, -4)).unflatten(0, latents.shape[:-3])

    images_of = of_latents(model.denoiser, model.latent_shape, walk, decode, guidance_by(arguments))
    return Request(images_of, tokens, list(range(len(tokens))))


def guidance_by(arguments: argparse.Namespace, bad: Denoiser | None = None) -> Wrap:
    """The guidance asked for: classifier-free, or away from a bad model."""
    asked = arguments.guidance if bad is None else arguments.autoguidance
    scale, interval = 1.0 if asked is None else asked, arguments.guidance_interval
    return guidance(scale, bad, tuple(interval) if interval else EVERYWHERE, arguments.guidance_rescale or 0.0)


def walk_of(arguments: argparse.Namespace, timesteps: int, completed: tuple[Tensor, Tensor] | None = None) -> Walk:
    """The sampler asked for, with all that it passes through where --out is a film.

    `completed` is an image (C, H, W) and where its pixels are given, as `inpainted` takes them. Raises as
    `sampler_setting`.
    """
    setting = sampler_setting(arguments, timesteps)
    walk: Walk = inpainted(setting, *completed) if completed else setting.start
    steps = PASSES * setting.steps if completed else setting.steps
    return filmed(walk, steps) if writer(arguments.out) is write_film else walk


def sampler_setting(arguments: argparse.Namespace, timesteps: int) -> SamplerSetting:
    """The sampler asked for. Raises ValueError for steps, a timestep spacing or an eta that it cannot have."""
    name, steps, sampler = arguments.sampler, arguments.steps, SAMPLERS[arguments.sampler]
    if not steps:
        steps = timesteps if sampler.takes_all_steps else min(DEFAULT_STEPS, timesteps)
    if steps > timesteps:
        raise ValueError(f"--steps: {steps} is not possible (allowed: 1 to {timesteps})")
    if sampler.takes_all_steps and steps != timesteps:
        raise ValueError(
            f"--steps: {steps} is not possible with {name} (allowed: all {timesteps}; fewer: --sampler ddim --eta 1)"
        )
    if sampler.takes_all_steps and arguments.spacing != "trailing":
        raise ValueError(f"--spacing: {arguments.spacing} is not possible with {name}, which takes all timesteps")
    if arguments.eta is not None and not sampler.takes_eta:
        allowed = ", ".join(other for other, row in SAMPLERS.items() if row.takes_eta)
        raise ValueError(f"--eta: {arguments.eta} is not possible with {name} (allowed: with {allowed})")
    return SamplerSetting(name, steps, arguments.eta, arguments.spacing)


def run() -> None:
    """The console script."""
    run_in_one_line(main, parser())


if __name__ == "__main__":
    run()
