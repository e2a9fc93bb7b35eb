"""`make study STUDY=density`: bits per dimension of MNIST's test digits, by a denoiser trained for nothing else.

An unconditional U-Net at full resolution, trained on all 60,000 training digits as a distribution over grey values.
Writes density.csv (both bounds), terms.csv (the bits of every log-SNR bin), history.csv, timing.json and about.json.
"""

import hashlib
import time
from functools import partial
from pathlib import Path

import torch

from diffusion.data import Dataset
from diffusion.denoiser import Conditional, Denoiser
from diffusion.likelihood.bounds import Bound, bits_per_dim
from diffusion.likelihood.density import Density
from diffusion.likelihood.grey_unet import GreyUNet, likelihood_loss
from diffusion.likelihood.greys import Greys
from diffusion.randomness import generator_for
from diffusion.samplers.ode import FIRST_TIME
from diffusion.schedule import noise_schedule
from diffusion.sources.splits import load_splits
from diffusion.training.loop import Update, state_of, training_step
from stages.params.keys import Score
from stages.params.params import ScoreParams
from stages.shared.bits import TERMS, bound_figures, mean_and_error, term_rows
from stages.shared.command import run
from stages.shared.denoiser_training import learner_of
from stages.shared.machine import machine_of
from stages.shared.outputs import write_json, write_table
from stages.shared.training import Learners, Training, data_arguments

CHANGES = (
    "data.dataset=mnist",
    "model.patch=1",
    "model.channels=[16,48,64]",
    "train.steps=20000",
    "train.learning_rate=0.0015",
    "train.ema_decay=0.998",
    "train.decay=late",
    "train.max_grad_norm=10.0",
    "train.log_every=100",
    "score.likelihood_images=2000",
    "score.ode_images=64",
)
COLUMNS = ("method", "n", "bits", "error", *TERMS)


class CpuClock:
    """CPU seconds of a training, including those before an interruption."""

    def __init__(self) -> None:
        self.start = time.process_time()

    def seconds(self) -> float:
        return time.process_time() - self.start

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.start = time.process_time() - state_dict["seconds"]


def main(params: ScoreParams, *, mnist: Path, report: Path) -> None:
    """Train on MNIST in --mnist, measure its test digits, write to --report; resumes an interrupted training."""
    params = params.changed(CHANGES)
    splits = load_splits(params.data.dataset, mnist, generator_for(params.seed, "split"))
    study(params, splits.train, splits.test, report)


def study(params: ScoreParams, train: Dataset, test: Dataset, report: Path) -> None:
    """Train on one split, measure the other, write to `report`."""
    machine = machine_of(params)
    update, learners = training_of(params, train, *machine)
    clock = CpuClock()

    def measure() -> None:
        seconds = clock.seconds()
        denoiser = Denoiser(learners["denoiser"].ema.net, noise_schedule(params.schedule, params.timesteps), "x0")
        write_bits(report, density_of(denoiser, params), test, params.score)
        about = {"images": len(train.images), "steps": params.train.steps, "cpu_seconds": round(seconds)}
        about |= {"data": {"dataset": params.data.dataset}}
        write_json(report / "about.json", about | {"changes": CHANGES})

    depends_on = params.model_dump(include={"seed", "schedule", "timesteps", "data", "model", "train"})
    depends_on["images"] = hashlib.sha256(train.images.numpy()).hexdigest()
    state = state_of(learners) | {"clock": clock}
    training = Training("density", update, state, params.train, machine, depends_on, files=[])
    training.run(report, params.checkpoint_seconds, measure)


def training_of(params: ScoreParams, data: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training, not begun: its step for `fit`, and its learner."""
    schedule = noise_schedule(params.schedule, params.timesteps)
    torch.manual_seed(params.seed)
    net = GreyUNet(schedule, Greys.of(data.images), **data_arguments(data), **params.model.model_dump())
    net = net.to(device, memory_format=torch.channels_last)
    loss = likelihood_loss(Denoiser(net, schedule, "x0", precision))
    learners = {"denoiser": learner_of(net, loss, params.train)}
    items, labels = data.images.to(device), data.labels.to(device)
    options = {"batch_size": params.train.batch_size, "seed": params.seed, "purpose": "train"}
    return training_step(learners, items, labels, **options), learners


def write_bits(report: Path, density: Density, test: Dataset, settings: Score) -> None:
    """Write density.csv and terms.csv for test images in random order."""
    order = torch.randperm(len(test.images), generator=generator_for(density.seed, "score/images"))
    images = test.images[order[: settings.likelihood_images]]
    few, null = images[: settings.ode_images], torch.full((len(images),), density.denoiser.null)
    bound, by_ode = density.bound(images, null), density.by_ode(few, null)
    rows = [
        ["bound", *bound_figures(bound, images)],
        ["bound of the ODE's images", *bound_figures(Bound(*(term[: len(few)] for term in bound)), few)],
        ["ODE", *mean_and_error(bits_per_dim(by_ode, few)), *[None] * len(TERMS)],
    ]
    write_table(report / "density.csv", COLUMNS, rows)
    write_table(report / "terms.csv", ("log_snr", "t", "bits", "error"), term_rows(bound, images, density.denoiser))


def density_of(denoiser: Denoiser, params: ScoreParams) -> Density:
    """The density by the network's own estimates, and by its distribution over grey values at t = 1."""
    decode_to = partial(denoiser.net.decoder, FIRST_TIME)
    settings, denoise_to = params.score, partial(Conditional, denoiser)
    return Density(denoiser, denoise_to, decode_to, settings.log_snr_bins, settings.ode_tolerance, params.seed)


if __name__ == "__main__":
    run(main)
