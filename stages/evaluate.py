"""Stage `evaluate`: the quality of the model and of every sampler, and what the samples look like."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import save_sheet, to_float, to_uint8
from diffusion.denoiser import Denoise, Denoiser, clipped, conditional
from diffusion.evaluation import Reference, Verdict, verdict
from diffusion.metrics import nearest_neighbours
from diffusion.randomness import image_noise
from diffusion.sampler import SamplerSetting, comparison, generate
from stages.command import run
from stages.judged import open_judged
from stages.outputs import write_json, write_table
from stages.params import Params

Noise = Callable[[Sequence[int]], Iterator[Tensor]]
SHEET_COLUMNS = 16
EXAMPLES_PER_CLASS = 10
FILM_FRAMES = 11
PRDC = ("precision", "recall", "density", "coverage")
QUALITY = ("fid", "kid", "kid_std", "accuracy", *PRDC)


@dataclass(frozen=True, eq=False)
class Studio:
    """A model with the seed, image shape and batch size under which this stage samples from it."""

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
        return torch.cat([to_uint8(batch).cpu() for batch in tqdm(batches, desc=name, unit="batch", total=total)])


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Judge the samplers of --model against the data in --data by --judge; write to --report."""
    settings = params.evaluate
    denoiser, reference = open_judged(params, arguments)
    train = reference.train
    studio = Studio(denoiser, tuple(train.images.shape[1:]), len(train.class_names), params.seed, settings.batch_size)
    report = arguments.report
    report.mkdir(parents=True, exist_ok=True)

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
    write_comparison(report, reference, images, settings.ddpm_samples)
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
    write_confusion(report / "confusion.csv", result, names)
    by_class = [samples[labels.cpu() == label][:EXAMPLES_PER_CLASS] for label in range(len(names))]
    save_sheet(report / "samples.png", torch.cat(by_class), EXAMPLES_PER_CLASS)
    shown = samples[:SHEET_COLUMNS]
    nearest = [nearest_images(shown, split.images) for split in (reference.train, reference.test)]
    save_sheet(report / "nearest.png", torch.cat([shown, *nearest]), SHEET_COLUMNS)


def write_confusion(path: Path, result: Verdict, names: tuple[str, ...]) -> None:
    """Counts of the class asked for against the class recognised."""
    counts = result.confusion.tolist()
    rows = [(a, p, counts[i][j]) for i, a in enumerate(names) for j, p in enumerate(names)]
    write_table(path, ["actual", "predicted", "count"], rows)


def nearest_images(images: Tensor, among: Tensor) -> Tensor:
    """For each uint8 image the one of `among` that is nearest in pixels."""
    return among[nearest_neighbours(to_float(images).flatten(1), to_float(among).flatten(1)).index]


def write_comparison(report: Path, reference: Reference, images: dict[SamplerSetting, Tensor], first: int) -> None:
    """Every sampler on all its images, and on its first `first`, of which every sampler has as many."""

    def judged(subset: str, setting: SamplerSetting, chosen: Tensor) -> list[object]:
        labels = torch.arange(len(chosen)) % len(reference.train.class_names)
        figures = verdict(reference, chosen, labels).as_dict()
        return [*setting, subset, len(chosen), *(figures[name] for name in QUALITY)]

    table = [judged("all", setting, chosen) for setting, chosen in images.items()]
    table += [judged("first", setting, chosen[:first]) for setting, chosen in images.items()]
    write_table(report / "samplers.csv", [*SamplerSetting._fields, "subset", "n", *QUALITY], table)
    save_sheet(
        report / "samplers.png", torch.cat([chosen[:SHEET_COLUMNS] for chosen in images.values()]), SHEET_COLUMNS
    )


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
    """Sample `number` images in one batch; film the first of each class on its way: x_t, and x_0 as predicted there."""
    shown = studio.num_classes
    last = setting.steps - 1  # the first state after the start noise
    wanted = {min(round(i * setting.steps / (FILM_FRAMES - 1)), last) for i in range(FILM_FRAMES)}
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
    run(main, "data", "model", "judge", "report")
