"""The command for people: `python -m diffusion.sample --model models/denoiser.safetensors --labels 0-9 --out x.png`."""

import argparse
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import save_sheet, to_uint8
from diffusion.denoiser import clipped, guided, load_denoiser
from diffusion.randomness import image_noise
from diffusion.runtime import DEVICES, PRECISIONS, pick_device, pick_precision, prepare_machine
from diffusion.sampler import SAMPLERS, SamplerSetting, generate
from diffusion.schedule import TIMES

EXAMPLES = """examples:
  a sheet of ten digits of each class
    python -m diffusion.sample --model models/denoiser.safetensors --labels 0-9 --num 100 --out digits.png
  a thousand images for another program: uint8 arrays `images` (N, H, W) or (N, H, W, C), and `labels` (N,)
    python -m diffusion.sample --model models/denoiser.safetensors --labels 0-9 --num 1000 --out digits.npz
  threes and sevens, guided where the class is decided, in 10 network calls
    python -m diffusion.sample --model models/denoiser.safetensors --labels 3,7 --guidance 3 \\
      --guidance-interval -3 1 --sampler dpmpp_2m --steps 10 --out threes_and_sevens.png

Image k has the k-th label (starting over after the last) and noise of its own: the same at any --batch-size and --num.
"""


def main(arguments: argparse.Namespace) -> None:
    """Sample and write. Raises ValueError for what cannot be done, before any work."""
    if arguments.out.suffix not in WRITERS:
        raise ValueError(f"--out: {arguments.out.name!r} has an unknown ending (allowed: {', '.join(WRITERS)})")
    if not arguments.out.parent.is_dir():
        raise ValueError(f"--out: {arguments.out.parent} is not a folder")
    first, last = arguments.guidance_interval
    if not first < last:
        raise ValueError(
            f"--guidance-interval: {first:g} {last:g} is not possible (allowed: a lower and a higher number)"
        )
    device = pick_device(arguments.device)
    prepare_machine(device)
    denoiser, description = load_denoiser(arguments.model, device, pick_precision(arguments.precision, device))
    num_classes, net = len(description["class_names"]), description["net"]
    chosen = parse_labels(arguments.labels, num_classes)
    setting = sampler_setting(arguments, denoiser.schedule.timesteps)
    labels = torch.tensor(chosen, device=device)[torch.arange(arguments.num, device=device) % len(chosen)]
    shape = (net["image_channels"], net["image_size"], net["image_size"])

    batches = generate(
        lambda label: clipped(
            guided(
                denoiser,
                label,
                arguments.guidance,
                num_classes,
                arguments.guidance_interval,
                arguments.guidance_rescale,
            )
        ),
        denoiser.schedule,
        setting,
        labels,
        partial(image_noise, arguments.seed, "sample", shape=shape, device=device),
        arguments.batch_size,
    )
    total = math.ceil(arguments.num / arguments.batch_size)
    images = torch.cat([to_uint8(batch).cpu() for batch in tqdm(batches, total=total, unit="batch")])
    WRITERS[arguments.out.suffix](arguments.out, images, labels.cpu(), len(chosen))


def parse_labels(text: str, num_classes: int) -> list[int]:
    """`3`, `0-9`, `1,3,5-7` as a list. Raises ValueError for anything that is not labels of the model."""
    try:
        ranges = [[int(bound) for bound in part.split("-")] for part in text.split(",")]
        labels = [label for bounds in ranges for label in range(bounds[0], bounds[-1] + 1)]
    except ValueError:
        labels = []
    if not labels or max(labels) >= num_classes:
        raise ValueError(f"--labels: {text!r} is not possible (allowed: 0-{num_classes - 1}, or like 1,3,5-7)")
    return labels


def sampler_setting(arguments: argparse.Namespace, timesteps: int) -> SamplerSetting:
    """The sampler asked for; DDPM takes all T steps. Raises ValueError for steps or eta that it cannot have."""
    steps = arguments.steps or (timesteps if arguments.sampler == "ddpm" else min(50, timesteps))
    if arguments.sampler == "ddpm" and steps != timesteps:
        raise ValueError(
            f"--steps: {steps} is not possible with ddpm (allowed: all {timesteps}; or --sampler ddim --eta 1)"
        )
    if not 1 <= steps <= timesteps:
        raise ValueError(f"--steps: {steps} is not possible (allowed: 1 to {timesteps})")
    if arguments.sampler == "ddpm" and arguments.times != "trailing":
        raise ValueError(f"--times: {arguments.times} is not possible with ddpm, which takes all times")
    if arguments.eta is not None and arguments.sampler != "ddim":
        raise ValueError(f"--eta: {arguments.eta} goes with --sampler ddim alone")
    return SamplerSetting(arguments.sampler, steps, arguments.eta, arguments.times)


def write_arrays(path: Path, images: Tensor, labels: Tensor, _: int) -> None:
    """`images` uint8 (N, H, W) or (N, H, W, C), `labels` int64 (N,)."""
    array = images.permute(0, 2, 3, 1).numpy()
    np.savez(path, images=array[..., 0] if array.shape[-1] == 1 else array, labels=labels.numpy())


def write_sheet(path: Path, images: Tensor, _: Tensor, columns: int) -> None:
    """A PNG, one column per label asked for."""
    save_sheet(path, images, min(columns, len(images)))


WRITERS = {".npz": write_arrays, ".png": write_sheet}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion.sample",
        description="Sample images from a trained denoiser.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="weights written by stage train")
    parser.add_argument("--out", type=Path, required=True, help="a .png sheet or .npz arrays")
    parser.add_argument("--labels", default="0-9", help="classes, like 3 or 0-9 or 1,3,5-7 (default 0-9)")
    parser.add_argument("--num", type=_positive, default=100, help="number of images (default 100)")
    parser.add_argument("--sampler", choices=SAMPLERS, default="ddim", help="(default ddim)")
    parser.add_argument("--steps", type=_positive, help="per image (default 50; all T for ddpm)")
    parser.add_argument("--times", choices=TIMES, default="trailing", help="spacing of the steps (default trailing)")
    parser.add_argument("--eta", type=_share, help="of ddim: 0 deterministic, 1 as noisy as DDPM (default 0)")
    parser.add_argument("--guidance", type=_scale, default=1.0, help="w >= 0: 0 any class, 1 none (default 1)")
    parser.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        default=(-math.inf, math.inf),
        metavar=("FROM", "TO"),
        help="log-SNR between which guidance acts: fewer network evaluations, more variety (default everywhere)",
    )
    parser.add_argument(
        "--guidance-rescale", type=_share, default=0.0, help="0 to 1: against saturation at high w (default 0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    parser.add_argument("--batch-size", type=_positive, default=100, help="images at a time (default 100)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    return parser


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible (allowed: 1 or more)")
    return int(text)


def _scale(text: str) -> float:
    if not 0 <= float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not possible (allowed: 0 or more)")
    return float(text)


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible (allowed: 0 to 1)")
    return float(text)


if __name__ == "__main__":
    try:
        main(_parser().parse_args())
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {' '.join(str(error).split())}")
