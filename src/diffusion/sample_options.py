"""The options of `diffusion-sample`, and its help with examples for the models at hand."""

import argparse
import math
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import torch

from diffusion.choices import DEVICES, PRECISIONS
from diffusion.command_line import Parser
from diffusion.denoiser import load_denoiser
from diffusion.latents.captions import suggested_prompt
from diffusion.latents.model import load_latent
from diffusion.samplers.table import SAMPLERS
from diffusion.schedule import SPACINGS
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


def parser() -> argparse.ArgumentParser:
    """What reads the options."""
    options = Parser(
        prog="diffusion-sample",
        description="Sample images from a trained denoiser.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    options.add_argument("-h", "--help", action=_Help, nargs=0, help="show this, with examples for the models at hand")
    options.add_argument(
        "--model",
        type=Path,
        help=f"weights of stage train (default {LABEL_MODEL}), or train_latent (with --prompt, default {PROMPT_MODEL})",
    )
    options.add_argument(
        "--out",
        type=Path,
        required=True,
        help="a .png sheet, .npz arrays, a .webp or .gif film, or a folder of single PNGs",
    )
    _add_what_to_draw(options.add_argument_group("what to draw"))
    _add_sampler(options.add_argument_group("sampler"))
    _add_guidance(options.add_argument_group("guidance"))
    machine = options.add_argument_group("machine")
    machine.add_argument("--batch-size", type=_positive, default=100, help="images at a time (default 100)")
    machine.add_argument("--device", choices=DEVICES, default="auto")
    machine.add_argument("--precision", choices=PRECISIONS, default="auto")
    return options


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


class _Help(argparse.Action):
    """Help with examples for the models at hand; --model counts if it stands before --help."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> NoReturn:
        parser.epilog = examples(namespace.model)
        parser.print_help()
        parser.exit()


def _add_what_to_draw(options: argparse._ArgumentGroup) -> None:
    asked = options.add_mutually_exclusive_group()
    asked.add_argument(
        "--labels",
        nargs="+",
        metavar="CLASS",
        help="classes by name or by index, also 0-9 or 1,3,5-7; a number that is a name is the name (default all)",
    )
    asked.add_argument("--prompt", nargs="+", metavar="TEXT", help="what to draw, in words that the model knows")
    options.add_argument(
        "--inpaint", type=Path, metavar="IMAGE", help="an image whose left half is kept, the rest drawn"
    )
    options.add_argument(
        "--mask", type=Path, metavar="IMAGE", help="of --inpaint: white where to draw, black where to keep"
    )
    options.add_argument("--num", type=_positive, default=100, help="number of images (default 100)")
    options.add_argument("--seed", type=int, default=0, help="(default 0)")


def _add_sampler(options: argparse._ArgumentGroup) -> None:
    options.add_argument("--sampler", choices=SAMPLERS, default="ddim", help="(default ddim)")
    options.add_argument("--steps", type=_positive, help=f"per image (default {DEFAULT_STEPS}; all T for ddpm)")
    options.add_argument("--spacing", choices=SPACINGS, default="trailing", help="of timesteps (default trailing)")
    options.add_argument("--eta", type=_share, help="of ddim: 0 deterministic, 1 as noisy as DDPM (default 0)")


def _add_guidance(options: argparse._ArgumentGroup) -> None:
    scale = options.add_mutually_exclusive_group()
    scale.add_argument(
        "--guidance",
        type=_scale,
        metavar="W",
        help="classifier-free, w >= 0: 0 unconditional, 1 conditional, above 1 guided (default 1)",
    )
    scale.add_argument(
        "--autoguidance", type=_scale, metavar="W", help="the same away from a bad version of the model, see --early"
    )
    options.add_argument(
        "--early", type=Path, help=f"the bad version of the model, of stage train (default {EARLY_MODEL} beside it)"
    )
    options.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("FROM", "TO"),
        help="log-SNRs between which to guide: fewer network evaluations, more variety (default everywhere)",
    )
    options.add_argument("--guidance-rescale", type=_share, help="0 to 1, against saturation at large w (default 0)")


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
