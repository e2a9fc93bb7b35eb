"""The command line: `diffusion-sample --out x.png`, with `--labels circle` or `--prompt "a thin three"`.

What --out names decides what is written: a sheet, arrays, a film of the reverse process, or a folder of single images.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.choices import DEVICES, PRECISIONS
from diffusion.command_line import Parser, run_in_one_line
from diffusion.data import classes_in_turn, to_float
from diffusion.denoiser import EVERYWHERE, Denoiser, Wrap, guidance, load_denoiser, refuse_other_model
from diffusion.generation import ImageModel, of_denoiser, of_latents
from diffusion.labels import labels_of
from diffusion.latents.captions import suggested_prompt
from diffusion.latents.model import load_latent
from diffusion.memory import shortage_explained
from diffusion.runtime import pick_device, pick_precision, prepare_machine
from diffusion.sample_files import write_film, writer
from diffusion.samplers.film import filmed
from diffusion.samplers.inpainting import PASSES, inpainted, left_half
from diffusion.samplers.step import Walk
from diffusion.samplers.table import SAMPLERS, SamplerSetting
from diffusion.schedule import SPACINGS
from diffusion.sources.image_file import read_image
from diffusion.tensors import Description

LABEL_MODEL, PROMPT_MODEL = Path("models/denoiser.safetensors"), Path("models/latent.safetensors")
EARLY_MODEL = "early.safetensors"  # beside the model
DEFAULT_STEPS = 50
EXAMPLES = """examples:
  a sheet of a hundred images, a column for every class
    diffusion-sample --num 100 --out sheet.png
  a thousand images for another program: uint8 arrays `images` (N, H, W) or (N, H, W, C), and `labels` (N,)
    diffusion-sample --num 1000 --out arrays.npz
  the same as single files LABEL-INDEX.png in a folder
    diffusion-sample --num 1000 --out images/
  how a sheet comes out of noise, as an animation
    diffusion-sample --num 20 --out film.webp
  some classes, guided at the noise levels where the class is decided, in 10 steps
    diffusion-sample --labels {classes} --guidance 3 --guidance-interval -3 1 \\
      --sampler dpmpp_2m --steps 10 --out classes.png
  a hundred images, guided by what the same network knew early in its training
    diffusion-sample --autoguidance 2 --sampler dpmpp_2m --steps 20 --out autoguided.png
  an image of a prompt
    diffusion-sample --prompt {prompt} --num 1 --guidance 3 --steps 20 --out picture.png

Image k has the k-th label or prompt (after the last they start over) and noise of its own, so it is the same at any
--batch-size and --num, and whatever --out is. Classes and prompt are those of the models at hand, or else of the
default data.
"""


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


def known_prompt(description: Description) -> str:
    """A prompt in words that a model of prompts knows."""
    return suggested_prompt(description["class_names"][0], description["vocabulary"])


def examples(model: Path | None) -> str:
    """Commands whose classes and prompt are those of the models at hand, or of the default data without models."""
    classes, prompt = ["3", "7"], "a thin three"
    with suppress(ValueError, OSError):
        _, description = load_denoiser(model or LABEL_MODEL, torch.device("cpu"), "fp32")
        names = description["class_names"]
        classes = [*dict.fromkeys((names[0], names[-1]))]
    with suppress(ValueError, OSError):
        _, description = load_latent(model or PROMPT_MODEL, torch.device("cpu"), "fp32")
        prompt = known_prompt(description)
    return EXAMPLES.format(classes=shlex.join(classes), prompt=shlex.quote(prompt))


def refuse_misused_guidance(arguments: argparse.Namespace) -> None:
    """Raise ValueError for an empty interval, for options of guidance without it, and for prompts with a bad model."""
    interval, guided = arguments.guidance_interval, {arguments.guidance, arguments.autoguidance} != {None}
    if interval and not interval[0] < interval[1]:
        raise ValueError(
            f"--guidance-interval: {interval[0]:g} {interval[1]:g} is not possible "
            "(allowed: a lower and a higher number)"
        )
    for option, value in (("--guidance-interval", interval), ("--guidance-rescale", arguments.guidance_rescale)):
        if value is not None and not guided:
            raise ValueError(f"{option}: not possible without --guidance or --autoguidance")
    if arguments.early and arguments.autoguidance is None:
        raise ValueError("--early: not possible without --autoguidance")
    if arguments.prompt and arguments.autoguidance is not None:
        raise ValueError("--autoguidance: not possible with --prompt (allowed: --guidance)")


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


class _Help(argparse.Action):
    """Help with examples for the models at hand; --model counts if it stands before --help."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> NoReturn:
        parser.epilog = examples(namespace.model)
        parser.print_help()
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="diffusion-sample",
        description="Sample images from a trained denoiser.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=_Help, nargs=0, help="show this, with examples for the models at hand")
    parser.add_argument(
        "--model",
        type=Path,
        help=f"weights of stage train (default {LABEL_MODEL}), or train_latent (with --prompt, default {PROMPT_MODEL})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="a .png sheet, .npz arrays, a .webp or .gif film, or a folder of single PNGs",
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--labels",
        nargs="+",
        metavar="CLASS",
        help="classes by name or by index, also 0-9 or 1,3,5-7; a number that is a name is the name (default all)",
    )
    asked.add_argument("--prompt", nargs="+", metavar="TEXT", help="what to draw, in words that the model knows")
    parser.add_argument(
        "--inpaint", type=Path, metavar="IMAGE", help="an image whose left half is kept, the rest drawn"
    )
    parser.add_argument(
        "--mask", type=Path, metavar="IMAGE", help="of --inpaint: white where to draw, black where to keep"
    )
    parser.add_argument("--num", type=_positive, default=100, help="number of images (default 100)")
    parser.add_argument("--sampler", choices=SAMPLERS, default="ddim", help="(default ddim)")
    parser.add_argument("--steps", type=_positive, help=f"per image (default {DEFAULT_STEPS}; all T for ddpm)")
    parser.add_argument("--spacing", choices=SPACINGS, default="trailing", help="of timesteps (default trailing)")
    parser.add_argument("--eta", type=_share, help="of ddim: 0 deterministic, 1 as noisy as DDPM (default 0)")
    guiding = parser.add_mutually_exclusive_group()
    guiding.add_argument(
        "--guidance",
        type=_scale,
        metavar="W",
        help="classifier-free, w >= 0: 0 unconditional, 1 conditional, above 1 guided (default 1)",
    )
    guiding.add_argument(
        "--autoguidance", type=_scale, metavar="W", help="the same away from a bad version of the model, see --early"
    )
    parser.add_argument(
        "--early", type=Path, help=f"the bad version of the model, of stage train (default {EARLY_MODEL} beside it)"
    )
    parser.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("FROM", "TO"),
        help="log-SNRs between which to guide: fewer network evaluations, more variety (default everywhere)",
    )
    parser.add_argument("--guidance-rescale", type=_share, help="0 to 1, against saturation at large w (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    parser.add_argument("--batch-size", type=_positive, default=100, help="images at a time (default 100)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    return parser


def _number(kind: Callable[[str], float], low: float, high: float, allowed: str) -> Callable[[str], float]:
    """What reads a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or math.isinf(value):
            raise argparse.ArgumentTypeError(f"{text} is not possible (allowed: {allowed})")
        return value

    return read


_positive = _number(int, 1, 10**9, "1 to 1,000,000,000")
_scale = _number(float, 0, math.inf, "0 or more")
_share = _number(float, 0, 1, "0 to 1")


def run() -> None:
    """The console script."""
    run_in_one_line(main, _parser())


if __name__ == "__main__":
    run()
