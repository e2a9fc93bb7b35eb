"""Stage `evaluate`: the quality of the model and of every sampler, and what the samples look like."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import Dataset, examples, to_float, to_uint8
from diffusion.denoiser import Denoiser, clipped, conditional
from diffusion.generation import ImageModel
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.metrics import nearest_neighbours
from diffusion.randomness import image_noise
from diffusion.samplers.step import Step, final
from diffusion.samplers.table import SETTING_COLUMNS, SamplerSetting, comparison
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.outputs import CONFUSION, confusion_rows, write_json, write_table
from stages.shared.samplers import PRDC, QUALITY_COLUMNS, SHEET_COLUMNS, quality_rows, sample_classes, save_samplers
from stages.shared.second import OPINION, opinion, opinion_floor, second_reference
from stages.shared.sheets import per_class, write_sheet

FILM_FRAMES, FILM_ROWS = 11, 20
GRID_IMAGES, GRID_COLUMNS = 16, 4
ETA_FIGURES = ("diversity", "fid", "kid", "accuracy", "recall")


def main(params: Params, *, data: Path, model: Path, judge: Path, second: Path, results: Path) -> None:
    """Judge the samplers of --model against the data in --data by --judge and by --second; write to --results."""
    settings = params.sampling
    denoiser, reference = open_judged(params, data, model, judge)
    other = second_reference(reference, second)
    sample = partial(sample_classes, denoiser, reference, settings.batch_size)

    verdict_setting = SamplerSetting("ddim", settings.num_steps, 0.0)
    samples = sample(verdict_setting, params.evaluate.num_samples)
    write_verdict(results, reference, samples, verdict_setting)

    ddpm, *others = comparison(params.timesteps, **settings.comparison())
    images = {ddpm: film(results, denoiser, reference, ddpm, settings.ddpm_samples)}
    for setting in others:
        known = setting == verdict_setting
        number = settings.sampler_samples
        images[setting] = samples[:number] if known else sample(setting, number)
    write_table(results / "samplers.csv", QUALITY_COLUMNS, quality_rows(reference, images, settings.ddpm_samples))
    opinions = ([*setting, *opinion(other, made)] for setting, made in images.items())
    write_table(results / "second.csv", [*SETTING_COLUMNS, *OPINION], opinions)
    verdict_of_second = dict(zip(OPINION, opinion(other, samples), strict=True))
    write_json(results / "second.json", {"verdict": verdict_of_second, "floor": opinion_floor(other, len(samples))})
    save_samplers(results / "samplers.png", images)
    write_sheet(results / "ddpm_grid.png", images[ddpm][:GRID_IMAGES], GRID_COLUMNS)
    write_eta(results, reference, sample, images, settings.eta_steps, settings.etas)


def write_verdict(results: Path, reference: Reference, samples: Tensor, setting: SamplerSetting) -> None:
    """The model's quality beside its floor, by class, and its samples beside their nearest real images."""
    names = reference.train.class_names
    labels = reference.classes(len(samples))
    result, floor = verdict(reference, samples, labels), reference.floor(len(samples))
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
        "extractor": f"{reference.judge.features_in_words}, {reference.test_features.shape[1]} dimensions",
        "reference": f"test split, n = {len(reference.test.images)}",
        "sampler": setting.sampler,
        "calls": setting.steps,
    }
    write_json(results / "metrics.json", figures)
    rows = zip(names, result.confusion.sum(1).tolist(), result.accuracy_by_class, strict=True)
    write_table(results / "by_class.csv", ["class", "n", "accuracy"], rows)
    write_table(results / "confusion.csv", CONFUSION, confusion_rows(result.confusion, names))
    shown_of_each = per_class(len(names))
    by_class = examples(Dataset(samples, labels, names), shown_of_each)
    write_sheet(results / "samples.png", by_class, shown_of_each)
    shown = samples[:SHEET_COLUMNS]
    nearest = [nearest_images(shown, split.images) for split in (reference.train, reference.test)]
    write_sheet(results / "nearest.png", torch.cat([shown, *nearest]), SHEET_COLUMNS)


def nearest_images(images: Tensor, among: Tensor) -> Tensor:
    """For every uint8 image the nearest of `among` by the distance of their pixels."""
    return among[nearest_neighbours(images, among, to_float=to_float).row]


def write_eta(
    results: Path,
    reference: Reference,
    sample: Callable[..., Tensor],
    images: dict[SamplerSetting, Tensor],
    eta_steps: Sequence[int],
    etas: Sequence[float],
) -> None:
    """What eta does: two runs from the same start noise (determinism), diversity and quality.

    `sample(setting, number, normals)` makes the images that are still missing.
    """
    table, sheet = [], []
    for eta in etas:
        for steps in eta_steps:
            setting = SamplerSetting("ddim", steps, eta)
            chosen = images[setting] if setting in images else sample(setting, SHEET_COLUMNS)
            again = sample(setting, SHEET_COLUMNS, normals=other_step_noise)
            difference = (to_float(chosen[:SHEET_COLUMNS]) - to_float(again)).square().mean().sqrt().item()
            labels = reference.classes(len(chosen))
            figures = verdict(reference, chosen, labels).as_dict()
            table.append([eta, steps, len(chosen), difference, *(figures[k] for k in ETA_FIGURES)])
        sheet += [chosen[:SHEET_COLUMNS], again]
    header = ["eta", "steps", "n", "rms_difference", *ETA_FIGURES]
    write_table(results / "eta.csv", header, table)
    write_sheet(results / "eta.png", torch.cat(sheet), SHEET_COLUMNS)


def other_step_noise(
    seed: int, purpose: str, indices: Sequence[int], shape: Sequence[int], device: torch.device
) -> Iterator[Tensor]:
    """The start noise of `image_noise`, with other noise in the steps."""
    yield next(image_noise(seed, purpose, indices, shape, device))
    yield from image_noise(seed, "other", indices, shape, device)


def film(results: Path, denoiser: Denoiser, reference: Reference, setting: SamplerSetting, number: int) -> Tensor:
    """Sample `number` images, uint8 on the CPU, and film the first of each class on its way, at most FILM_ROWS.

    A frame is x_t with the x_0 estimated there. The setting has a step for every t.
    """
    assert setting.steps == denoiser.schedule.timesteps
    earliest = setting.steps - 1  # the state after the first step
    wanted = {min(round(i * setting.steps / (FILM_FRAMES - 1)), earliest) for i in range(FILM_FRAMES)}
    frames: list[Step] = []
    classes = reference.train.num_classes

    def sample(numbered: Tensor, normals: Iterator[Tensor]) -> Tensor:
        labels, index = numbered.unbind(1)
        steps = setting.start(clipped(conditional(denoiser, labels)), denoiser.schedule, normals)
        return final(filmed(steps, setting, wanted, frames) if index[0] == 0 else steps)

    numbered = torch.stack([reference.classes(number), torch.arange(number)], dim=1)
    model = ImageModel(reference.train.shape, denoiser.device, sample)
    each = max(classes, math.ceil(number / torch.get_num_threads()))  # the first batch has all that are filmed
    images = model.images(numbered, reference.seed, "sample", each)
    write_table(results / "film.csv", ["column", "t"], enumerate(frame.t for frame in frames))
    for name in ("x_t", "x_0"):
        column = torch.stack([getattr(frame, name)[: min(classes, FILM_ROWS)] for frame in frames], dim=1)
        write_sheet(results / f"film_{name}.png", to_uint8(column.flatten(0, 1)).cpu(), len(frames))
    return images


def filmed(steps: Iterator[Step], setting: SamplerSetting, times: set[int], frames: list[Step]) -> Iterator[Step]:
    """The same steps under a progress bar; those that arrive at these times are appended to `frames`."""
    for step in tqdm(steps, desc=f"{setting.sampler} {setting.steps}", unit="step", total=setting.steps):
        if step.t in times:
            frames.append(step)
        yield step


if __name__ == "__main__":
    run(main)
