"""`make study STUDY=stability`: how reliably three kinds of models train, with two learning rates and three seeds each.

About half an hour on two cores: each of the 18 trainings has a quarter of the default run's steps. Writes runs.csv and
about.json to --report.
"""

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType

from diffusion.baselines.gan import GanModel
from diffusion.baselines.vae import VaeModel
from diffusion.data import Dataset, classes_in_turn, load_both
from diffusion.denoiser import Denoiser
from diffusion.generation import ImageModel, of_denoiser, of_one_call
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.judge import Judge
from diffusion.runtime import describe_machine
from diffusion.samplers.ddim import by_ddim
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Update, fit, state_of
from diffusion.training.optimiser import Diverged
from stages import gan, train, vae
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.machine import Machine, machine_of
from stages.shared.origin import origin_of
from stages.shared.outputs import write_json, write_table
from stages.shared.progress import watched
from stages.shared.training import Learners, Settings

MODELS: dict[str, tuple[str, ModuleType]] = {"diffusion": ("train", train), "gan": ("gan", gan), "vae": ("vae", vae)}
SAMPLED = {"diffusion": "denoiser", "gan": "generator", "vae": "vae"}  # the learner that makes images
FACTORS = (1, 4)  # of the default run's learning rate
SEEDS = (0, 1, 2)
SHARE = 4  # a training has a quarter of the default run's steps
FIGURES = ("accuracy", "fid", "precision", "recall", "coverage")
COLUMNS = ("model", "factor", "learning_rate", "steps", "seed", "diverged_at", "seconds", "n", *FIGURES)


def main(params: BaselineParams, *, data: Path, card: Path, judge: Path, report: Path) -> None:
    """Train on --data (its card: --card), judge by --judge, write to --report."""
    machine = machine_of(params)
    train, test = load_both(data)
    reference = Reference(Judge.load(judge, machine.device), train, test, params.seed)
    write_table(report / "runs.csv", COLUMNS, rows(params, train, reference, machine))
    followed = params.model_dump(include={"data", "schedule", "timesteps", "model", "train", "vae", "gan", "compare"})
    write_json(report / "about.json", origin_of(card) | {"params": followed} | describe_machine(*machine))


def rows(params: BaselineParams, data: Dataset, reference: Reference, machine: Machine) -> Iterator[list[object]]:
    """COLUMNS of every training."""
    for (name, (section, stage)), factor, seed in product(MODELS.items(), FACTORS, SEEDS):
        settings = getattr(params, section)
        changes = {"learning_rate": factor * settings.learning_rate, "steps": -(-settings.steps // SHARE)}
        changed = params.changed(
            [f"seed={seed}", "train.seed=auto", *(f"{section}.{key}={value}" for key, value in changes.items())]
        )
        update, learners = stage.training_of(changed, data, *machine)
        start = time.monotonic()
        diverged_at = train_until_diverged(
            f"{name}, {factor} x, seed {seed}", update, learners, getattr(changed, section)
        )
        seconds = round(time.monotonic() - start, 1)
        quality: list[float | None] = []
        if diverged_at is None:
            try:
                quality = figures(image_model(name, changed, data, learners, machine), reference, changed)
            except ValueError:  # samples are not finite: it diverged after the last report
                diverged_at = changes["steps"]
        row = [name, factor, *changes.values(), seed, diverged_at, seconds, params.compare.num_samples, *quality]
        yield row + [None] * (len(COLUMNS) - len(row))


def train_until_diverged(name: str, update: Update, learners: Learners, settings: Settings) -> int | None:
    """Train to the end and return None, or the last reported step at which everything was finite if it diverges."""
    last = 0
    try:
        steps = fit(update, state_of(learners), settings.steps, settings.log_every)
        for last, _ in watched(steps, name, settings.steps, settings.batch_size):  # noqa: B007
            pass
    except Diverged:
        return last
    return None


def image_model(name: str, params: BaselineParams, data: Dataset, learners: Learners, machine: Machine) -> ImageModel:
    """The trained model, as stage `compare` samples from it; the denoiser with the first of `compare.ddim_steps`."""
    net = learners[SAMPLED[name]].ema.net
    if name == "diffusion":
        schedule = noise_schedule(params.schedule, params.timesteps)
        denoiser = Denoiser(net, schedule, params.train.target, machine.precision)
        return of_denoiser(denoiser, data.shape, by_ddim(params.compare.ddim_steps[0]))
    model, latent = (GanModel, params.gan.latent) if name == "gan" else (VaeModel, params.vae.latent)
    return of_one_call(model(net, machine.precision), latent, machine.device)


def figures(model: ImageModel, reference: Reference, params: BaselineParams) -> list[float | None]:
    """FIGURES of its samples."""
    labels = classes_in_turn(params.compare.num_samples, reference.train.num_classes)
    images = model.images(labels, params.seed, "stability", params.sampling.batch_size)
    found = verdict(reference, images, labels).as_dict()
    return [found[name] for name in FIGURES]


if __name__ == "__main__":
    run(main)
