"""Stage `evaluate`: the quality of the model and of every sampler, and what the samples look like."""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import Dataset, examples, save_sheet, to_float, to_uint8
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.metrics import nearest_neighbours
from diffusion.samplers.sampler import SamplerSetting, comparison
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.outputs import CONFUSION, confusion_rows, write_json, write_table
from stages.shared.studio import PRDC, QUALITY_COLUMNS, SHEET_COLUMNS, Studio, quality_rows, save_samplers

EXAMPLES_PER_CLASS = 10
FILM_FRAMES = 11


def main(params: Params, *, data: Path, model: Path, judge: Path, report: Path) -> None:
    """Judge the samplers of --model against the data in --data by --judge; write to --report."""
    settings = params.evaluate
    denoiser, reference = open_judged(params, data, model, judge)
    train = reference.train
    studio = Studio(denoiser, tuple(train.images.shape[1:]), len(train.class_names), params.seed, settings.batch_size)

    verdict_setting = SamplerSetting("ddim", settings.verdict_steps, 0.0)
    samples = studio.images(verdict_setting, settings.num_samples)
    write_verdict(report, reference, samples, studio.labels(len(samples)), verdict_setting)

    rows = comparison(params.timesteps, **settings.comparison())
    images = {rows[0]: film(report, studio, rows[0], settings.ddpm_samples)}
    for setting in rows[1:]:
        shared = setting == verdict_setting
        images[setting] = (
            samples[: settings.sampler_samples] if shared else studio.images(setting, settings.sampler_samples)
        )
    write_table(report / "samplers.csv", QUALITY_COLUMNS, quality_rows(reference, images, settings.ddpm_samples))
    save_samplers(report / "samplers.png", images)
    write_eta(report, reference, studio, images, settings.eta_steps, settings.etas)
    save_sheet(report / "ddpm_grid.png", images[rows[0]][:16], 4)


def write_verdict(report: Path, reference: Reference, samples: Tensor, labels: Tensor, setting: SamplerSetting) -> None:
    """The model's quality beside its floor, by class, and its samples beside their nearest real digits."""
    result = verdict(reference, samples, labels)
    names = reference.train.class_names
    floor = reference.floor(len(samples))
    figures = {
        "n": result.n,
        "accuracy": result.accuracy,
        "fid": result.fid,
        "fid_floor": {"mean": floor.mean["fid"], "std": floor.std["fid"], "draws": floor.draws, "n": floor.n},
        "kid": {"mean": result.kid, "std": result.kid_std},
        "kid_floor": {"mean": floor.mean["kid"], "std": floor.std["kid"]},
        **{name: getattr(result, name) for name in PRDC},
        "floor": {name: floor.mean[name] for name in PRDC},
        "diversity": result.diversity,
        "memorisation": reference.memorisation(samples)._asdict(),
        "extractor": f"penultimate features of the judge, {reference.test_features.shape[1]} dimensions",
        "reference": f"test split, n = {len(reference.test.images)}",
        "sampler": setting.sampler,
        "calls": setting.steps,
    }
    write_json(report / "metrics.json", figures)
    counts = result.confusion.sum(1).tolist()
    write_table(
        report / "by_class.csv",
        ["class", "n", "accuracy"],
        zip(names, counts, result.accuracy_by_class, strict=True),
    )
    write_table(report / "confusion.csv", CONFUSION, confusion_rows(result.confusion, names))
    by_class = examples(Dataset(samples, labels.cpu(), names), EXAMPLES_PER_CLASS)
    save_sheet(report / "samples.png", by_class, EXAMPLES_PER_CLASS)
    shown = samples[:SHEET_COLUMNS]
    nearest = [nearest_images(shown, split.images) for split in (reference.train, reference.test)]
    save_sheet(report / "nearest.png", torch.cat([shown, *nearest]), SHEET_COLUMNS)


def nearest_images(images: Tensor, among: Tensor) -> Tensor:
    """For each uint8 image the one of `among` that is nearest in pixels."""
    return among[nearest_neighbours(images, among, to_float=to_float).index]


def write_eta(
    report: Path,
    reference: Reference,
    studio: Studio,
    images: dict[SamplerSetting, Tensor],
    eta_steps: list[int],
    etas: list[float],
) -> None:
    """What eta does: two runs from the same start noise (determinism), diversity and quality."""
    table, sheet = [], []
    for eta in etas:
        for steps in eta_steps:
            setting = SamplerSetting("ddim", steps, eta)
            chosen = images[setting] if setting in images else studio.images(setting, SHEET_COLUMNS)
            again = studio.images(setting, SHEET_COLUMNS, noise_for=studio.other_noise)
            difference = (to_float(chosen[:SHEET_COLUMNS]) - to_float(again)).square().mean().sqrt().item()
            figures = verdict(reference, chosen, torch.arange(len(chosen)) % studio.num_classes).as_dict()
            table.append(
                [eta, steps, len(chosen), difference, *(figures[k] for k in ("diversity", "fid", "kid", "accuracy"))]
            )
        sheet += [chosen[:SHEET_COLUMNS], again]
    header = ["eta", "steps", "n", "rms_difference", "diversity", "fid", "kid", "accuracy"]
    write_table(report / "eta.csv", header, table)
    save_sheet(report / "eta.png", torch.cat(sheet), SHEET_COLUMNS)


def film(report: Path, studio: Studio, setting: SamplerSetting, number: int) -> Tensor:
    """Sample `number` images in one batch; film the first of each class on its way: x_t, and x_0 as predicted there.

    The setting has a step for every t.
    """
    shown = studio.num_classes
    assert setting.steps == studio.denoiser.schedule.timesteps
    earliest = setting.steps - 1  # the state after the first step
    wanted = {min(round(i * setting.steps / (FILM_FRAMES - 1)), earliest) for i in range(FILM_FRAMES)}
    noise = studio.noise("sample", range(number))
    steps = setting.start(studio.denoise_to(studio.labels(number)), studio.denoiser.schedule, noise)
    frames = []
    for step in tqdm(steps, desc=f"{setting.sampler} {setting.steps}", unit="step", total=setting.steps):
        if step.t in wanted:
            frames.append((step.t, step.x_t[:shown], step.x_0[:shown]))
    write_table(report / "film.csv", ["column", "t"], enumerate(t for t, _, _ in frames))
    for name, images in (("x_t", [x for _, x, _ in frames]), ("x_0", [x for _, _, x in frames])):
        save_sheet(report / f"film_{name}.png", to_uint8(torch.stack(images, dim=1).flatten(0, 1)).cpu(), len(frames))
    return to_uint8(step.x_t).cpu()


if __name__ == "__main__":
    run(main)
