"""Stage `evaluate`: the quality of the model and of every sampler, and what the samples look like."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion import processes
from diffusion.data import Dataset, examples, to_float, to_uint8
from diffusion.denoiser import Conditional, Denoiser, clipped, guidance, record_evaluations
from diffusion.generation import ImageModel
from diffusion.quality.evaluation import Reference, Verdict, verdict
from diffusion.quality.metrics import nearest_neighbours
from diffusion.randomness import image_noise
from diffusion.samplers.step import Step, final
from diffusion.samplers.table import SETTING_COLUMNS, SamplerSetting, comparison
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_early, open_judged
from stages.shared.outputs import CONFUSION, confusion_rows, write_json, write_table
from stages.shared.samplers import PRDC, QUALITY_COLUMNS, SHEET_COLUMNS, quality_rows, sample_classes, save_samplers
from stages.shared.second import OPINION, opinion, opinion_floor, second_reference
from stages.shared.sheets import per_class, write_sheet
from stages.shared.together import in_processes

FILM_FRAMES, FILM_ROWS = 11, 20
GRID_IMAGES, GRID_COLUMNS = 16, 4
ETA_FIGURES = ("diversity", "fid", "kid", "accuracy", "recall")


def main(params: Params, *, data: Path, model: Path, early: Path, judge: Path, second: Path, results: Path) -> None:
    """Judge the samplers of --model against the data in --data by --judge and by --second; write to --results.

    The recommended setting, which may guide the model by --early, is judged on images from the same noise.
    """
    settings = params.sampling
    denoiser, reference = open_judged(params, data, model, judge)
    other = second_reference(reference, second)
    sample = partial(sample_classes, denoiser, reference, settings.batch_size)

    verdict_setting = SamplerSetting(**settings.setting())
    with record_evaluations(denoiser) as seen:
        samples = sample(verdict_setting, params.evaluate.num_samples)
    write_verdict(results, reference, samples, verdict_setting, seen)
    write_recommended(results, params, reference, denoiser, open_early(params, early, reference))

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


def write_verdict(
    results: Path, reference: Reference, samples: Tensor, setting: SamplerSetting, seen: Sequence[int]
) -> None:
    """The model's quality at w = 1 beside its floor, by class, and its samples beside their nearest real images."""
    names = reference.train.class_names
    result, figures = judged(reference, samples, setting, seen)
    write_json(results / "metrics.json", figures)
    rows = zip(names, result.confusion.sum(1).tolist(), result.accuracy_by_class, strict=True)
    write_table(results / "by_class.csv", ["class", "n", "accuracy"], rows)
    write_table(results / "confusion.csv", CONFUSION, confusion_rows(result.confusion, names))
    by_sample = torch.stack([reference.classes(len(samples)), result.predictions], dim=1).tolist()
    write_table(results / "predictions.csv", ["label", "recognised"], by_sample)
    write_by_class(results / "unguided.png", reference, samples)
    shown = samples[:SHEET_COLUMNS]
    nearest = [nearest_images(shown, split.images) for split in (reference.train, reference.test)]
    write_sheet(results / "nearest.png", torch.cat([shown, *nearest]), SHEET_COLUMNS)


def write_recommended(results: Path, params: Params, reference: Reference, denoiser: Denoiser, early: Denoiser) -> None:
    """The same figures in the recommended setting, from the same noise, and samples by class."""
    recommended = params.recommended
    setting, interval = SamplerSetting(**recommended.setting()), (recommended.interval[0], recommended.interval[1])
    wrap = guidance(recommended.scale, early if recommended.guidance == "autoguidance" else None, interval)
    with record_evaluations(denoiser, early) as seen:
        samples = sample_classes(
            denoiser, reference, params.sampling.batch_size, setting, params.evaluate.num_samples, wrap=wrap
        )
    _, figures = judged(reference, samples, setting, seen)
    guided_by = recommended.model_dump(include={"guidance", "scale", "interval"})
    write_json(results / "recommended.json", figures | guided_by)
    write_by_class(results / "recommended.png", reference, samples)


def write_by_class(path: Path, reference: Reference, samples: Tensor) -> None:
    """A sheet of the first samples of every class, a row for each."""
    names = reference.train.class_names
    shown_of_each = per_class(len(names))
    by_class = examples(Dataset(samples, reference.classes(len(samples)), names), shown_of_each)
    write_sheet(path, by_class, shown_of_each)


def judged(
    reference: Reference, samples: Tensor, setting: SamplerSetting, seen: Sequence[int]
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on samples, and all figures of them beside the floor; `seen` as in `record_evaluations`."""
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
        "eta": setting.eta,
        "calls": processes.total(sum(seen)) / len(samples),
    }
    return result, figures


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
        steps = setting.start(clipped(Conditional(denoiser, labels)), denoiser.schedule, normals)
        return final(filmed(steps, setting, wanted, frames) if index[0] == 0 else steps)

    numbered = torch.stack([reference.classes(number), torch.arange(number)], dim=1)
    model = ImageModel(reference.train.shape, denoiser.device, sample)
    side_by_side = torch.get_num_threads() * processes.count()
    each = max(classes, math.ceil(number / side_by_side))  # the first batch has all that are filmed
    images = model.images(numbered, reference.seed, "sample", each)
    times, *films = processes.from_first(lambda: frames_side_by_side(frames, min(classes, FILM_ROWS)))
    write_table(results / "film.csv", ["column", "t"], enumerate(times.tolist()))
    for name, film in zip(("x_t", "x_0"), films, strict=True):
        write_sheet(results / f"film_{name}.png", film, len(times))
    return images


def frames_side_by_side(frames: Sequence[Step], rows: int) -> tuple[Tensor, ...]:
    """The times of frames (N,), and x_t and x_0 of their first images, uint8 (rows * N, C, H, W), on the CPU."""
    columns = ([getattr(frame, name)[:rows] for frame in frames] for name in ("x_t", "x_0"))
    films = [to_uint8(torch.stack(column, dim=1).flatten(0, 1)).cpu() for column in columns]
    return torch.tensor([frame.t for frame in frames]), *films


def filmed(steps: Iterator[Step], setting: SamplerSetting, times: set[int], frames: list[Step]) -> Iterator[Step]:
    """The same steps under a progress bar; those that arrive at these times are appended to `frames`."""
    for step in tqdm(steps, desc=f"{setting.sampler} {setting.steps}", unit="step", total=setting.steps):
        if step.t in times:
            frames.append(step)
        yield step


if __name__ == "__main__":
    run(main, in_processes)
