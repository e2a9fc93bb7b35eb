"""Stage `guidance`: what the scale of both kinds of guidance does to fidelity, coverage, sharpness and saturation."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import classes_in_turn
from diffusion.denoiser import Denoise, Denoiser, guidance, record_evaluations
from diffusion.generation import of_denoiser
from diffusion.processes import total
from diffusion.quality.evaluation import Reference, Verdict, verdict
from diffusion.quality.metrics import saturation
from diffusion.samplers.ddim import by_ddim
from stages.params.keys import Guidance
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_early, open_judged
from stages.shared.outputs import CONFUSION, confusion_rows, write_table
from stages.shared.second import second_reference
from stages.shared.sheets import per_class, write_sheet
from stages.shared.together import in_processes

SECOND = ("accuracy", "recall", "recognised")  # of the second judge's verdict
FIGURES = (
    *("n", "accuracy", "fid", "kid", "precision", "recall", "clipped_density", "coverage", "clipped_coverage"),
    *("diversity", "sharpness", "saturation", "calls_per_image", "recognised"),
    *(f"{name}_second" for name in SECOND),
)
Measure = Callable[..., tuple[Tensor, Verdict, list[float | None]]]  # as `sample_and_judge`, of a name and options


def main(params: Params, *, data: Path, model: Path, early: Path, judge: Path, second: Path, results: Path) -> None:
    """Sample every class of --model at every guidance scale, judge by --judge and --second, write to --results.

    Scales that evaluate both halves are measured twice more: guided within `guidance.interval` alone, and with
    `guidance.rescale`. Then the model is guided by --early, from the same noise.
    """
    settings = params.guidance
    denoiser, reference = open_judged(params, data, model, judge)
    bad, other = open_early(params, early, reference), second_reference(reference, second)
    names = reference.train.class_names
    labels = classes_in_turn(len(names) * settings.samples_per_class, len(names))
    measure = partial(
        sample_and_judge, denoiser, bad, reference, other, labels, settings.num_steps, params.sampling.batch_size
    )

    rows, confusions, classes, firsts = [], [], [], {}
    for scale in settings.scales:
        images, result, figures = measure(f"w = {scale}", scale=scale)
        rows.append([scale, *figures])
        confusions += [[scale, *row] for row in confusion_rows(result.confusion, names)]
        classes += [[scale, name, right] for name, right in zip(names, result.accuracy_by_class, strict=True)]
        by_class = images.view(-1, len(names), *images.shape[1:])[: per_class(len(names))].transpose(0, 1)
        write_sheet(results / f"sheet_{scale:g}.png", by_class.flatten(0, 1), by_class.shape[1])
        firsts[scale] = images[: len(names)]
    write_table(results / "metrics.csv", ["scale", *FIGURES], rows)
    write_table(results / "confusion.csv", ["scale", *CONFUSION], confusions)
    write_table(results / "by_class.csv", ["scale", "class", "accuracy"], classes)
    write_columns(results / "sheet.png", list(firsts.values()))
    write_limited(results, measure, settings, firsts)
    write_auto(results, partial(measure, bad=bad), settings.auto_scales, firsts)


def write_limited(results: Path, measure: Measure, settings: Guidance, firsts: dict[float, Tensor]) -> None:
    """Guidance in an interval alone, and rescaled, at every scale that guides; a sheet of the largest one.

    `firsts` are the first images of every class by scale, guided everywhere.
    """
    rows, sheet = [], []
    limits: dict[str, Any] = {"interval": settings.interval, "rescale": settings.rescale}
    for scale, (limit, value) in product(sorted({*settings.scales} - {0, 1}), limits.items()):
        images, _, figures = measure(f"w = {scale}, {limit}", scale=scale, **{limit: value})
        rows.append([limit, scale, *figures])
        sheet.append(images[: len(firsts[scale])])
    write_table(results / "limited.csv", ["limit", "scale", *FIGURES], rows)
    if sheet:  # those of the largest scale come last
        write_columns(results / "limited.png", [firsts[max(settings.scales)], *sheet[-len(limits) :]])


def write_auto(results: Path, measure: Measure, scales: Sequence[float], firsts: dict[float, Tensor]) -> None:
    """Autoguidance at every scale; a sheet of them behind conditional sampling and classifier-free guidance at the same
    scales, where these were measured. `firsts` are as in `write_limited`."""
    rows, sheet = [], [images for scale, images in firsts.items() if scale in (1, *scales)]
    for scale in scales:
        images, _, figures = measure(f"autoguidance, w = {scale}", scale=scale)
        rows.append([scale, *figures])
        sheet.append(images[: len(next(iter(firsts.values())))])
    write_table(results / "auto.csv", ["scale", *FIGURES], rows)
    write_columns(results / "auto.png", sheet)


def write_columns(path: Path, columns: Sequence[Tensor]) -> None:
    """A sheet with a column for each of several (K, C, H, W), the images of K classes."""
    write_sheet(path, torch.stack(list(columns), dim=1).flatten(0, 1), len(columns))


def sample_and_judge(
    denoiser: Denoiser,
    early: Denoiser,
    reference: Reference,
    second: Reference,
    labels: Tensor,
    steps: int,
    batch_size: int,
    name: str,
    **guidance_options: Any,
) -> tuple[Tensor, Verdict, list[float | None]]:
    """Images uint8 (N, C, H, W) of labels (N,), the verdict on them, and FIGURES, SECOND by the second judge.

    Options go to `guidance`; the start noise is the same whatever they are. Evaluations of `early` count as well.
    """
    beyond: list[float] = []
    guide = guidance(**guidance_options)

    def wrap(denoiser: Denoiser, label: Tensor) -> Denoise:
        return saturation_recorded(guide(denoiser, label), beyond)

    model = of_denoiser(denoiser, reference.train.shape, by_ddim(steps), wrap)
    with record_evaluations(denoiser, early) as seen:
        watch = partial(tqdm, desc=name, unit="batch")
        images = model.images(labels, reference.seed, "guidance", batch_size, watch)
    result, of_second = verdict(reference, images, labels), verdict(second, images, labels).as_dict()
    figures = result.as_dict() | {
        **{f"{name}_second": of_second[name] for name in SECOND},
        "sharpness": reference.sharpness(images),
        "saturation": total(sum(beyond)) / total(len(beyond)),
        "calls_per_image": total(sum(seen)) / len(images),
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
    run(main, in_processes)
