"""Samplers side by side, as stages `evaluate` and `score` compare them: their images, their quality, a sheet."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.denoiser import Conditional, Denoiser, Wrap
from diffusion.generation import Normals, of_denoiser
from diffusion.quality.evaluation import Reference, verdict
from diffusion.randomness import image_noise
from diffusion.samplers.table import SETTING_COLUMNS, SamplerSetting
from stages.shared.sheets import write_sheet

SHEET_COLUMNS = 16
PRDC = ("precision", "recall", "clipped_density", "coverage", "clipped_coverage")
QUALITY = ("fid", "kid", "kid_std", "accuracy", *PRDC, "recognised")
QUALITY_COLUMNS = (*SETTING_COLUMNS, "subset", "n", *QUALITY)


def sample_classes(
    denoiser: Denoiser,
    reference: Reference,
    batch_size: int,
    setting: SamplerSetting,
    number: int,
    normals: Normals = image_noise,
    wrap: Wrap = Conditional,
) -> Tensor:
    """`number` images uint8 (N, C, H, W), on the CPU, of all classes by their shares, under a progress bar."""
    labels = reference.classes(number)
    model = of_denoiser(denoiser, reference.train.shape, setting.start, wrap)
    name = f"{setting.sampler} {setting.steps}" + (f" eta {setting.eta}" if setting.eta else "")
    return model.images(
        labels, reference.seed, "sample", batch_size, partial(tqdm, desc=name, unit="batch"), normals=normals
    )


def quality_rows(reference: Reference, images: dict[SamplerSetting, Tensor], first: int) -> Iterator[list[object]]:
    """QUALITY_COLUMNS of every sampler on all of its images, then on its `first` ones, as many for each."""
    for subset, number in (("all", None), ("first", first)):
        for setting, made in images.items():
            chosen = made[:number]
            figures = verdict(reference, chosen, reference.classes(len(chosen))).as_dict()
            yield [*setting, subset, len(chosen), *(figures[name] for name in QUALITY)]


def save_samplers(path: Path, images: dict[SamplerSetting, Tensor]) -> None:
    """A sheet with a row for every sampler, all from the same start noise."""
    write_sheet(path, torch.cat([made[:SHEET_COLUMNS] for made in images.values()]), SHEET_COLUMNS)
