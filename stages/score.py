"""Stage `score`: the denoiser as a score: SDE and ODE samplers, known scores, bits per dimension, inversion."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import classes_in_turn, to_float, to_uint8
from diffusion.denoiser import Conditional, Denoiser, record_evaluations
from diffusion.generation import of_denoiser
from diffusion.quality.evaluation import Reference
from diffusion.randomness import generator_for, image_noise
from diffusion.samplers.inversion import decode, encode, slerp
from diffusion.samplers.ode import FIRST_TIME, adaptive
from diffusion.samplers.table import SAMPLERS, SamplerSetting
from stages.params.keys import Score
from stages.params.params import ScoreParams
from stages.shared.bits import write_bits
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.mixtures import write_mixtures
from stages.shared.model_record import write_model_record
from stages.shared.outputs import write_table
from stages.shared.samplers import QUALITY_COLUMNS, SHEET_COLUMNS, quality_rows, sample_classes, save_samplers
from stages.shared.sheets import write_sheet

INTERPOLATION_PAIRS, INTERPOLATION_COLUMNS = 6, 11
ODE_BATCH_SIZE = 64  # of the adaptive solver


def main(params: ScoreParams, *, data: Path, model: Path, judge: Path, results: Path) -> None:
    """Use --model as a score, judged against the data in --data by --judge; write to --results.

    Samplers run in `precision`; whatever solves or inverts an equation runs in fp32, since the rounding of bf16 would
    dominate its error.
    """
    settings = params.score
    denoiser, reference = open_judged(params, data, model, judge)
    exact = replace(denoiser, precision="fp32")
    write_samplers(results, denoiser, exact, reference, params)
    write_mixtures(results, denoiser.schedule, denoiser.device, settings.mixture_steps, params.seed)
    order = torch.randperm(len(reference.test.images), generator=generator_for(params.seed, "score/images"))
    test = reference.test.take(order)
    write_bits(results, exact, reference.train, test, settings, params.seed)
    write_inversion(results, exact, test.images, settings, params.seed)
    write_model_record(results / "model.json", model, params.train.steps)


def write_samplers(
    results: Path, denoiser: Denoiser, exact: Denoiser, reference: Reference, params: ScoreParams
) -> None:
    """The reverse SDE, the corrector and the ODE, judged as in stage `evaluate`, with network evaluations per image.

    Predictor-corrector takes fewer steps than Euler-Maruyama, so that both take about as many evaluations.
    """
    settings, number = params.score, params.sampling.sampler_samples
    per_step = SAMPLERS["predictor_corrector"].evaluations
    rows = [
        *(SamplerSetting("euler_maruyama", steps) for steps in settings.sde_steps),
        *(SamplerSetting("predictor_corrector", steps // per_step) for steps in settings.sde_steps),
        SamplerSetting("heun", settings.heun_steps),
    ]
    images, evaluations = {}, []
    for setting in rows:
        with record_evaluations(denoiser) as seen:
            images[setting] = sample_classes(denoiser, reference, params.sampling.batch_size, setting, number)
        evaluations.append(sum(seen) / number)
    with record_evaluations(exact) as seen:
        solved = solve_classes(exact, reference, number, settings.tolerance)
    evaluations.append(sum(seen) / len(solved))
    images[SamplerSetting("adaptive", round(evaluations[-1]), spacing="adaptive")] = solved[:number]
    judged = quality_rows(reference, images, params.sampling.ddpm_samples)
    table = ([*row, nfe] for row, nfe in zip(judged, 2 * evaluations, strict=True))  # on all images, on the first
    write_table(results / "samplers.csv", [*QUALITY_COLUMNS, "calls"], table)
    save_samplers(results / "samplers.png", images)


def solve_classes(denoiser: Denoiser, reference: Reference, number: int, tolerance: float) -> Tensor:
    """At least `number` images by the solver that chooses its own steps, uint8 (N, C, H, W) on the CPU.

    It chooses them by the error of a whole batch, so every batch is full, and image k is always in the same company.
    """
    labels = classes_in_turn(-(-number // ODE_BATCH_SIZE) * ODE_BATCH_SIZE, reference.train.num_classes)
    model = of_denoiser(denoiser, reference.train.shape, partial(adaptive, tolerance=tolerance))
    return model.images(labels, reference.seed, "sample", ODE_BATCH_SIZE, partial(tqdm, desc="adaptive", unit="batch"))


def write_inversion(results: Path, denoiser: Denoiser, images: Tensor, settings: Score, seed: int) -> None:
    """Test images to noise and back, and the path between two of them, all unconditional.

    An image starts as x_1, with the noise that belongs to t = 1: no path of the flow ends in a clean image.
    """
    number, most_steps = min(settings.inversion_images, len(images)), max(settings.inversion_steps)
    schedule = denoiser.schedule
    x_0 = to_float(images[:number]).to(denoiser.device)
    null = torch.full((number,), denoiser.null, device=denoiser.device)
    eps = next(image_noise(seed, "score/inversion", range(number), images.shape[1:], denoiser.device))
    x_1 = schedule.q_sample(x_0, FIRST_TIME, eps)
    denoise, shown, table = Conditional(denoiser, null), [images[:SHEET_COLUMNS]], []
    for steps in settings.inversion_steps:
        noise, of_clean = (encode(denoise, schedule, start, steps) for start in (x_1, x_0))
        again = decode(denoise, schedule, noise, steps).clamp(-1, 1)
        errors = (again - x_0).square().flatten(1).mean(1).sqrt()
        spreads = [x.std().item() for x in (noise, of_clean)]
        table.append([steps, number, errors.mean().item(), errors.std().item() / number**0.5, *spreads])
        shown.append(to_uint8(again[:SHEET_COLUMNS]).cpu())
        if steps == most_steps:
            write_interpolation(results, denoiser, noise, steps)
    header = ["steps", "n", "rms_error", "error", "noise_std", "clean_noise_std"]
    write_table(results / "inversion.csv", header, table)
    write_sheet(results / "inversion.png", torch.cat(shown), min(SHEET_COLUMNS, number))


def write_interpolation(results: Path, denoiser: Denoiser, noise: Tensor, steps: int) -> None:
    """The images between pairs of noise (N, C, H, W): those of the first rows and those of the next ones."""
    pairs = min(INTERPOLATION_PAIRS, len(noise) // 2)
    first, second = noise[:pairs], noise[pairs : 2 * pairs]
    denoise = Conditional(denoiser, torch.full((pairs,), denoiser.null, device=denoiser.device))
    between = partial(decode, denoise, denoiser.schedule, num_steps=steps)
    shares = torch.linspace(0, 1, INTERPOLATION_COLUMNS).tolist()
    columns = [to_uint8(between(slerp(first, second, share))).cpu() for share in shares]
    write_sheet(results / "interpolation.png", torch.stack(columns, dim=1).flatten(0, 1), len(columns))


if __name__ == "__main__":
    run(main)
