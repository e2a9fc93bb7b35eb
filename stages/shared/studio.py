"""A model as stages sample from it, and the judgement of its samplers: one set of conventions for all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import gathered, save_sheet
from diffusion.denoiser import Denoise, Denoiser, clipped, conditional
from diffusion.quality.evaluation import Reference, verdict
from diffusion.randomness import image_noise
from diffusion.samplers.sampler import SamplerSetting, generate

Noise = Callable[[Sequence[int]], Iterator[Tensor]]
SHEET_COLUMNS = 16
PRDC = ("precision", "recall", "density", "coverage")
QUALITY = ("fid", "kid", "kid_std", "accuracy", *PRDC)
QUALITY_COLUMNS = (*SamplerSetting._fields, "subset", "n", *QUALITY)


@dataclass(frozen=True, eq=False)
class Studio:
    """A model with the seed, image shape and batch size under which stages sample from it."""

    denoiser: Denoiser
    image_shape: tuple[int, int, int]
    num_classes: int
    seed: int
    batch_size: int

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return self.denoiser.device

    def labels(self, number: int) -> Tensor:
        """0, 1, ..., K - 1, 0, 1, ...: image k has class k mod K."""
        return torch.arange(number, device=self.device) % self.num_classes

    def noise(self, purpose: str, indices: Sequence[int]) -> Iterator[Tensor]:
        """Standard normal draws of the images with these indices."""
        return image_noise(self.seed, purpose, indices, self.image_shape, self.device)

    def other_noise(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """The same start noise as `noise("sample", ...)`, other noise in the steps."""
        return chain([next(self.noise("sample", indices))], self.noise("other", indices))

    def denoise_to(self, labels: Tensor) -> Denoise:
        """The denoiser that every sampler uses here: conditional (w = 1), x_0 clipped."""
        return clipped(conditional(self.denoiser, labels))

    def images(self, setting: SamplerSetting, number: int, noise_for: Noise | None = None) -> Tensor:
        """`number` finished images, uint8 (N, C, H, W) on the CPU."""
        noise_for = noise_for or partial(self.noise, "sample")
        batches = generate(
            self.denoise_to, self.denoiser.schedule, setting, self.labels(number), noise_for, self.batch_size
        )
        name = f"{setting.sampler} {setting.steps}" + (f" eta {setting.eta}" if setting.eta else "")
        total = -(-number // self.batch_size)
        return gathered(tqdm(batches, desc=name, unit="batch", total=total))


def quality_rows(reference: Reference, images: dict[SamplerSetting, Tensor], first: int) -> Iterator[list[object]]:
    """QUALITY_COLUMNS of every sampler on all its images, and on its first `first`, of which each has as many."""
    for subset, number in (("all", None), ("first", first)):
        for setting, made in images.items():
            chosen = made[:number]
            labels = torch.arange(len(chosen)) % len(reference.train.class_names)
            figures = verdict(reference, chosen, labels).as_dict()
            yield [*setting, subset, len(chosen), *(figures[name] for name in QUALITY)]


def save_samplers(path: Path, images: dict[SamplerSetting, Tensor]) -> None:
    """A sheet with a row for every sampler, all from the same start noise."""
    save_sheet(path, torch.cat([made[:SHEET_COLUMNS] for made in images.values()]), SHEET_COLUMNS)
