"""Stage `guidance`: what the guidance scale does to fidelity, coverage, sharpness and saturation."""

import argparse
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import load_both, save_sheet, to_float, to_uint8
from diffusion.denoiser import Denoise, clipped, guided, load_denoiser, refuse_other_images
from diffusion.evaluation import Reference, verdict
from diffusion.judge import Judge
from diffusion.metrics import saturation, sharpness
from diffusion.randomness import image_noise
from diffusion.runtime import pick_device, pick_precision, prepare_machine
from diffusion.sampler import SamplerSetting, generate
from stages.command import run
from stages.outputs import write_table
from stages.params import Params

EXAMPLES_PER_CLASS = 10
FIGURES = ("n", "accuracy", "fid", "kid", "precision", "recall", "density", "coverage", "diversity")


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Sample every class of --model at every guidance scale, judge, write to --report."""
    settings = params.guidance
    device = pick_device(params.device)
    prepare_machine(device)
    denoiser, description = load_denoiser(arguments.model, device, pick_precision(params.precision, device))
    train, test = load_both(arguments.data)
    refuse_other_images(arguments.model, description, train.images.shape[1:], len(train.class_names))
    reference = Reference(Judge.load(arguments.judge, device), train, test, params.seed)
    names = train.class_names
    labels = torch.arange(len(names) * settings.samples_per_class, device=device) % len(names)
    noise_for = partial(image_noise, params.seed, "guidance", shape=train.images.shape[1:], device=device)
    real_sharpness = sharpness(to_float(test.images))

    table, confusions, classes, first_of_class = [], [], [], []
    for scale in settings.scales:
        beyond: list[float] = []

        def denoise_to(label: Tensor, scale: float = scale, beyond: list[float] = beyond) -> Denoise:
            return clipped(saturation_noted(guided(denoiser, label, scale, len(names)), beyond))

        batches = generate(
            denoise_to,
            denoiser.schedule,
            SamplerSetting("ddim", settings.steps, 0.0),
            labels,
            noise_for,
            params.evaluate.batch_size,
        )
        images = torch.cat([to_uint8(batch).cpu() for batch in tqdm(batches, desc=f"w = {scale}", unit="batch")])
        result = verdict(reference, images, labels)
        figures = result.as_dict()
        calls = settings.steps * (1 if scale in (0, 1) else 2)
        relative_sharpness = sharpness(to_float(images)) / real_sharpness
        table.append([scale, *(figures[k] for k in FIGURES), relative_sharpness, sum(beyond) / len(beyond), calls])
        counts = result.confusion.tolist()
        confusions += [[scale, a, p, counts[i][j]] for i, a in enumerate(names) for j, p in enumerate(names)]
        classes += [[scale, name, right] for name, right in zip(names, result.accuracy_by_class, strict=True)]
        by_class = images.view(-1, len(names), *images.shape[1:])[:EXAMPLES_PER_CLASS].transpose(0, 1)
        save_sheet(arguments.report / f"sheet_{scale:g}.png", by_class.flatten(0, 1), by_class.shape[1])
        first_of_class.append(by_class[:, 0])

    header = ["scale", *FIGURES, "sharpness", "saturation", "calls_per_image"]
    write_table(arguments.report / "metrics.csv", header, table)
    write_table(arguments.report / "confusion.csv", ["scale", "actual", "predicted", "count"], confusions)
    write_table(arguments.report / "by_class.csv", ["scale", "class", "accuracy"], classes)
    save_sheet(arguments.report / "sheet.png", torch.stack(first_of_class, dim=1).flatten(0, 1), len(settings.scales))


def saturation_noted(denoise: Denoise, beyond: list[float]) -> Denoise:
    """The same, noting the share of pixels beyond |x_0| = 1 of every call: put it inside of `clipped`."""

    def noting(x_t: Tensor, t: float) -> Tensor:
        x_0 = denoise(x_t, t)
        beyond.append(saturation(x_0))
        return x_0

    return noting


if __name__ == "__main__":
    run(main, "data", "model", "judge", "report")
