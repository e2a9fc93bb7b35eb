"""Stage `guidance`: what the guidance scale does to fidelity, coverage, sharpness and saturation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import gathered, save_sheet, to_float
from diffusion.denoiser import Denoise, Denoiser, clipped, guided
from diffusion.quality.evaluation import Reference, Verdict, verdict
from diffusion.quality.metrics import saturation, sharpness
from diffusion.randomness import image_noise
from diffusion.samplers.sampler import SamplerSetting, generate
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.outputs import CONFUSION, confusion_rows, write_table

EXAMPLES_PER_CLASS = 10
FIGURES = (
    *("n", "accuracy", "fid", "kid", "precision", "recall", "density", "coverage", "diversity"),
    *("sharpness", "saturation", "calls_per_image"),
)


def main(params: Params, *, data: Path, model: Path, judge: Path, report: Path) -> None:
    """Sample every class of --model at every guidance scale, judge, write to --report.

    Scales that take both halves are measured twice more: guided in `guidance.interval` alone, and with
    `guidance.rescale`.
    """
    settings = params.guidance
    measure = Measurement.of(params, data, model, judge)
    names = measure.class_names

    rows, confusions, classes, first_of_class = [], [], [], []
    for scale in settings.scales:
        images, result, figures = measure(f"w = {scale}", scale=scale)
        rows.append([scale, *figures])
        confusions += [[scale, *row] for row in confusion_rows(result.confusion, names)]
        classes += [[scale, name, right] for name, right in zip(names, result.accuracy_by_class, strict=True)]
        by_class = images.view(-1, len(names), *images.shape[1:])[:EXAMPLES_PER_CLASS].transpose(0, 1)
        save_sheet(report / f"sheet_{scale:g}.png", by_class.flatten(0, 1), by_class.shape[1])
        first_of_class.append(by_class[:, 0])
    write_table(report / "metrics.csv", ["scale", *FIGURES], rows)
    write_table(report / "confusion.csv", ["scale", *CONFUSION], confusions)
    write_table(report / "by_class.csv", ["scale", "class", "accuracy"], classes)
    save_sheet(report / "sheet.png", torch.stack(first_of_class, dim=1).flatten(0, 1), len(settings.scales))

    rows, firsts = [], []
    limits = {"interval": {"interval": settings.interval}, "rescale": {"rescale": settings.rescale}}
    for scale, (limit, options) in product(sorted({*settings.scales} - {0, 1}), limits.items()):
        images, _, figures = measure(f"w = {scale}, {limit}", scale=scale, **options)
        rows.append([limit, scale, *figures])
        firsts.append(images[: len(names)])
    write_table(report / "limited.csv", ["limit", "scale", *FIGURES], rows)
    if firsts:  # those of the largest scale are the last
        columns = [first_of_class[settings.scales.index(max(settings.scales))], *firsts[-len(limits) :]]
        save_sheet(report / "limited.png", torch.stack(columns, dim=1).flatten(0, 1), len(columns))


@dataclass(frozen=True, eq=False)
class Measurement:
    """Samples of every class from the same start noise, however guided, and what the judge says of them."""

    denoiser: Denoiser
    reference: Reference
    class_names: Sequence[str]
    labels: Tensor  # (N,)
    noise_for: Callable[[Sequence[int]], Iterator[Tensor]]
    real_sharpness: float
    steps: int
    batch_size: int

    @classmethod
    def of(cls, params: Params, data: Path, model: Path, judge: Path) -> Self:
        """Of the files that stages judge by. Raises ValueError for files that are damaged or do not belong together."""
        denoiser, reference = open_judged(params, data, model, judge)
        train, device = reference.train, denoiser.device
        number = len(train.class_names) * params.guidance.samples_per_class
        return cls(
            denoiser,
            reference,
            train.class_names,
            torch.arange(number, device=device) % len(train.class_names),
            partial(image_noise, params.seed, "guidance", shape=train.images.shape[1:], device=device),
            sharpness(to_float(reference.test.images)),
            params.guidance.steps,
            params.evaluate.batch_size,
        )

    def __call__(self, name: str, **guidance: Any) -> tuple[Tensor, Verdict, list[float | None]]:
        """Images uint8 (N, C, H, W), the verdict on them, and FIGURES; `guidance` as `guided` takes it."""
        beyond: list[float] = []
        evaluated: list[int] = []  # images per call of the network

        def denoise_to(label: Tensor) -> Denoise:
            null = len(self.class_names)
            return clipped(saturation_noted(guided(self.denoiser, label, null=null, **guidance), beyond))

        setting = SamplerSetting("ddim", self.steps, 0.0)
        batches = generate(denoise_to, self.denoiser.schedule, setting, self.labels, self.noise_for, self.batch_size)
        with self.denoiser.net.register_forward_hook(lambda net, inputs, output: evaluated.append(len(output))):
            images = gathered(tqdm(batches, desc=name, unit="batch"))
        result = verdict(self.reference, images, self.labels)
        figures = result.as_dict() | {
            "sharpness": sharpness(to_float(images)) / self.real_sharpness,
            "saturation": sum(beyond) / len(beyond),
            "calls_per_image": sum(evaluated) / len(images),
        }
        return images, result, [figures[figure] for figure in FIGURES]


def saturation_noted(denoise: Denoise, beyond: list[float]) -> Denoise:
    """The same, noting the share of pixels beyond |x_0| = 1 of every call: put it inside of `clipped`."""

    def noting(x_t: Tensor, t: float) -> Tensor:
        x_0 = denoise(x_t, t)
        beyond.append(saturation(x_0))
        return x_0

    return noting


if __name__ == "__main__":
    run(main)
