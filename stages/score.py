"""Stage `score`: the denoiser as a score: SDE and ODE samplers, known scores, bits per dimension, inversion."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import save_sheet, to_float, to_uint8
from diffusion.denoiser import Denoiser, conditional
from diffusion.quality.evaluation import Reference
from diffusion.randomness import generator, image_noise
from diffusion.samplers.inversion import decoded, encoded, slerp
from diffusion.samplers.ode import FIRST_TIME, adaptive
from diffusion.samplers.sampler import SamplerSetting
from stages.params.keys import Score
from stages.params.params import ScoreParams
from stages.shared.bits import write_bits
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.mixtures import write_mixtures
from stages.shared.model_record import write_model_record
from stages.shared.outputs import write_table
from stages.shared.studio import QUALITY_COLUMNS, SHEET_COLUMNS, Studio, quality_rows, save_samplers

INTERPOLATION_PAIRS, INTERPOLATION_COLUMNS = 6, 11
COMPANY = 64  # images that the adaptive solver solves together


def main(params: ScoreParams, *, data: Path, model: Path, judge: Path, report: Path) -> None:
    """What --model is as a score, judged against the data in --data by --judge; write to --report.

    Samplers run in `precision`; whatever solves or reverses an equation runs in fp32, as bf16 would be its error.
    """
    settings, evaluate = params.score, params.evaluate
    denoiser, reference = open_judged(params, data, model, judge)
    exact = replace(denoiser, precision="fp32")
    train = reference.train
    studio = Studio(denoiser, tuple(train.images.shape[1:]), len(train.class_names), params.seed, evaluate.batch_size)
    write_samplers(report, studio, reference, settings, evaluate.sampler_samples, evaluate.ddpm_samples)
    write_mixtures(report, denoiser.schedule, denoiser.device, settings.mixture_steps, params.seed)
    order = torch.randperm(len(reference.test.images), generator=generator(params.seed, "score/images"))
    test = reference.test.take(order)
    write_bits(report, exact, train, test, settings, params.seed)
    write_inversion(report, exact, test.images, settings, params.seed)
    write_model_record(report / "model.json", model, params.train.steps)


def write_samplers(
    report: Path, studio: Studio, reference: Reference, settings: Score, number: int, first: int
) -> None:
    """The reverse SDE, the corrector and the ODE in the columns of stage `evaluate`, with network calls per image.

    Predictor-corrector takes half the steps of Euler-Maruyama, so about as many calls.
    """
    rows = [
        *(SamplerSetting("euler_maruyama", steps) for steps in settings.sde_steps),
        *(SamplerSetting("predictor_corrector", steps // 2) for steps in settings.sde_steps),
        SamplerSetting("heun", settings.heun_steps),
    ]
    images, calls = {}, {}
    for setting in rows:
        with images_seen(studio.denoiser) as seen:
            images[setting] = studio.images(setting, number)
        calls[setting] = sum(seen) / number
    solver = replace(studio, denoiser=replace(studio.denoiser, precision="fp32"))
    with images_seen(solver.denoiser) as seen:
        made = adaptive_images(solver, number, settings.tolerance)
    per_image = sum(seen) / len(made)
    setting = SamplerSetting("adaptive", round(per_image), times="adaptive")
    images[setting], calls[setting] = made[:number], per_image
    judged = quality_rows(reference, images, first)
    by_setting = [*images.keys()] * 2  # on all images, then on the first
    table = ([*row, calls[setting]] for row, setting in zip(judged, by_setting, strict=True))
    write_table(report / "samplers.csv", [*QUALITY_COLUMNS, "calls"], table)
    save_samplers(report / "samplers.png", images)


@contextmanager
def images_seen(denoiser: Denoiser) -> Iterator[list[int]]:
    """How many images the network saw in each of its calls."""
    seen: list[int] = []
    with denoiser.net.register_forward_hook(lambda net, inputs, output: seen.append(len(output))):
        yield seen


def adaptive_images(studio: Studio, number: int, tolerance: float) -> Tensor:
    """At least `number` images by the solver that chooses its own steps, uint8 (N, C, H, W) on the CPU.

    It chooses them by the error of a whole batch, so image k always has the same company, of which none is left out.
    """
    number = -(-number // COMPANY) * COMPANY
    labels, batches = studio.labels(number), []
    for indices in tqdm(torch.arange(number).split(COMPANY), desc="adaptive", unit="batch"):
        denoise = studio.denoise_to(labels[indices.to(studio.device)])
        start = next(studio.noise("sample", indices.tolist()))
        batches.append(to_uint8(adaptive(denoise, studio.denoiser.schedule, start, tolerance)).cpu())
    return torch.cat(batches)


def write_inversion(report: Path, denoiser: Denoiser, images: Tensor, settings: Score, seed: int) -> None:
    """Test digits to noise and back, and the way between two of them; the label is null, so no class is told.

    A digit starts as x_1, with the noise that belongs to t = 1: a clean one is where the flow never comes from.
    """
    number, most_steps = min(settings.inversion_images, len(images)), max(settings.inversion_steps)
    schedule, net = denoiser.schedule, denoiser.net
    x_0 = to_float(images[:number]).to(denoiser.device)
    null = torch.full((number,), net.null_label, device=denoiser.device)
    eps = next(image_noise(seed, "score/inversion", range(number), images.shape[1:], denoiser.device))
    x_1 = schedule.q_sample(x_0, FIRST_TIME, eps)
    denoise, shown, table = conditional(denoiser, null), [images[:SHEET_COLUMNS]], []
    for steps in settings.inversion_steps:
        noise, of_clean = (encoded(denoise, schedule, start, steps) for start in (x_1, x_0))
        again = decoded(denoise, schedule, noise, steps).clamp(-1, 1)
        errors = (again - x_0).square().flatten(1).mean(1).sqrt()
        spreads = [x.std().item() for x in (noise, of_clean)]
        table.append([steps, number, errors.mean().item(), errors.std().item() / number**0.5, *spreads])
        shown.append(to_uint8(again[:SHEET_COLUMNS]).cpu())
        if steps == most_steps:
            pairs = min(INTERPOLATION_PAIRS, number // 2)
            first, second = noise[:pairs], noise[pairs : 2 * pairs]
    header = ["steps", "n", "rms_error", "error", "noise_std", "clean_noise_std"]
    write_table(report / "inversion.csv", header, table)
    save_sheet(report / "inversion.png", torch.cat(shown), min(SHEET_COLUMNS, number))
    between = partial(decoded, conditional(denoiser, null[:pairs]), schedule, num_steps=most_steps)
    shares = torch.linspace(0, 1, INTERPOLATION_COLUMNS).tolist()
    columns = [to_uint8(between(slerp(first, second, share))).cpu() for share in shares]
    save_sheet(report / "interpolation.png", torch.stack(columns, dim=1).flatten(0, 1), len(columns))


if __name__ == "__main__":
    run(main)
