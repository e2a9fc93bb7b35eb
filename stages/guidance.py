"""Stage `guidance`: what the guidance scale does to fidelity, coverage, sharpness and saturation."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import classes_in_turn
from diffusion.denoiser import Denoise, Denoiser, guided, record_evaluations
from diffusion.generation import of_denoiser
from diffusion.quality.evaluation import Reference, Verdict, verdict
from diffusion.quality.metrics import saturation
from diffusion.samplers.ddim import by_ddim
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.outputs import CONFUSION, confusion_rows, write_table
from stages.shared.sheets import per_class, write_sheet

FIGURES = (
    *("n", "accuracy", "fid", "kid", "precision", "recall", "clipped_density", "coverage", "clipped_coverage"),
    *("diversity", "sharpness", "saturation", "calls_per_image", "recognised"),
)


def main(params: Params, *, data: Path, model: Path, judge: Path, results: Path) -> None:
    """Sample every class of --model at every guidance scale, judge, write to --results.

    Scales that evaluate both halves are measured twice more: guided within `guidance.interval` alone, and with
    `guidance.rescale`.
    """
    settings = params.guidance
    denoiser, reference = open_judged(params, data, model, judge)
    names = reference.train.class_names
    labels = classes_in_turn(len(names) * settings.samples_per_class, len(names))
    measure = partial(sample_and_judge, denoiser, reference, labels, settings.num_steps, params.sampling.batch_size)

    rows, confusions, classes, first_of_class = [], [], [], []
    for scale in settings.scales:
        images, result, figures = measure(f"w = {scale}", scale=scale)
        rows.append([scale, *figures])
        confusions += [[scale, *row] for row in confusion_rows(result.confusion, names)]
        classes += [[scale, name, right] for name, right in zip(names, result.accuracy_by_class, strict=True)]
        by_class = images.view(-1, len(names), *images.shape[1:])[: per_class(len(names))].transpose(0, 1)
        write_sheet(results / f"sheet_{scale:g}.png", by_class.flatten(0, 1), by_class.shape[1])
        first_of_class.append(by_class[:, 0])
    write_table(results / "metrics.csv", ["scale", *FIGURES], rows)
    write_table(results / "confusion.csv", ["scale", *CONFUSION], confusions)
    write_table(results / "by_class.csv", ["scale", "class", "accuracy"], classes)
    write_sheet(results / "sheet.png", torch.stack(first_of_class, dim=1).flatten(0, 1), len(settings.scales))

    limited, firsts = [], []
    limits: dict[str, Any] = {"interval": settings.interval, "rescale": settings.rescale}
    for scale, (limit, value) in product(sorted({*settings.scales} - {0, 1}), limits.items()):
        images, _, figures = measure(f"w = {scale}, {limit}", scale=scale, **{limit: value})
        limited.append([limit, scale, *figures])
        firsts.append(images[: len(names)])
    write_table(results / "limited.csv", ["limit", "scale", *FIGURES], limited)
    if firsts:  # those of the largest scale come last
        columns = [first_of_class[settings.scales.index(max(settings.scales))], *firsts[-len(limits) :]]
        write_sheet(results / "limited.png", torch.stack(columns, dim=1).flatten(0, 1), len(columns))


def sample_and_judge(
    denoiser: Denoiser, reference: Reference, labels: Tensor, steps: int, batch_size: int, name: str, **guidance: Any
) -> tuple[Tensor, Verdict, list[float | None]]:
    """Images uint8 (N, C, H, W) of labels (N,), the verdict on them, and FIGURES.

    `guidance` goes to `guided`; the start noise is the same whatever it is.
    """
    beyond: list[float] = []

    def wrap(denoiser: Denoiser, label: Tensor) -> Denoise:
        return saturation_recorded(guided(denoiser, label, **guidance), beyond)

    model = of_denoiser(denoiser, reference.train.shape, by_ddim(steps), wrap)
    with record_evaluations(denoiser) as seen:
        watch = partial(tqdm, desc=name, unit="batch")
        images = model.images(labels, reference.seed, "guidance", batch_size, watch)
    result = verdict(reference, images, labels)
    figures = result.as_dict() | {
        "sharpness": reference.sharpness(images),
        "saturation": sum(beyond) / len(beyond),
        "calls_per_image": sum(seen) / len(images),
    }
    return images, result, [figures[figure] for figure in FIGURES]


def saturation_recorded(denoise: Denoise, beyond: list[float]) -> Denoise:
    """The same, appending the share of pixels beyond |x_0| = 1 of every estimate to `beyond`; it goes inside `clipped`,
    which would leave none."""

    def recording(x_t: Tensor, t: Tensor | float) -> Tensor:
        x_0 = denoise(x_t, t)
        beyond.append(saturation(x_0))
        return x_0

    return recording


if __name__ == "__main__":
    run(main)
