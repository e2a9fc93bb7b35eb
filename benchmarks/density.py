"""`make study STUDY=density`: how few bits MNIST's test digits cost, for a denoiser that is trained for nothing else.

The U-Net of the pipeline on all 60,000 training digits, read as a distribution over grey values, no class told. Writes
density.csv (both bounds), terms.csv (what every stretch of log-SNR costs), history.csv and about.json.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import torch

from diffusion.data import Dataset
from diffusion.denoiser import Denoiser, conditional
from diffusion.greys import Greys
from diffusion.likelihood import Bound, bits_per_dim
from diffusion.ode import FIRST_TIME
from diffusion.randomness import generator
from diffusion.readout import GreyUNet, likelihood_update
from diffusion.runtime import describe_machine
from diffusion.schedule import noise_schedule
from diffusion.sources import load_splits
from diffusion.training import Ema, Optimiser, fit
from stages.bits import TERMS, Density, bound_figures, mean_and_error, term_rows
from stages.command import run
from stages.outputs import write_json, write_table
from stages.params import Params
from stages.progress import watched
from stages.training import HISTORY, machine_of, made_for

CHANGES = (
    "data.dataset=mnist",
    "model.channels=[48,64]",
    "train.steps=20000",
    "train.ema_decay=0.998",
    "train.decay=late",
    "train.max_grad_norm=10.0",
    "train.log_every=100",
    "score.likelihood_images=2000",
    "score.ode_images=64",
)
COLUMNS = ("method", "n", "bits", "error", *TERMS)


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Train on MNIST in --mnist, measure its test digits, write to --report."""
    params = params.changed(CHANGES)
    splits = load_splits(params.data.dataset, arguments.mnist, generator(params.seed, "split"))
    measure(params, splits.train, splits.test, arguments.report)


def measure(params: Params, train: Dataset, test: Dataset, report: Path) -> None:
    """All that main does once the data are there."""
    device, precision = machine_of(params)
    start = time.process_time()
    denoiser = trained(params, train, device, precision, report)
    seconds = time.process_time() - start
    settings = params.score
    order = torch.randperm(len(test.images), generator=generator(params.seed, "score/images"))
    images = test.images[order[: settings.likelihood_images]]
    null = torch.full((len(images),), denoiser.net.null_label)
    density, few = density_of(denoiser, params), images[: settings.ode_images]
    bound, by_ode = density.bound(images, null), density.by_ode(few, null)
    rows = [
        ["bound", *bound_figures(bound, images)],
        ["bound of the ODE's images", *bound_figures(Bound(*(term[: len(few)] for term in bound)), few)],
        ["ODE", *mean_and_error(bits_per_dim(by_ode, few)), *[None] * len(TERMS)],
    ]
    write_table(report / "density.csv", COLUMNS, rows)
    write_table(report / "terms.csv", ("log_snr", "t", "bits", "error"), term_rows(bound, images, denoiser))
    about = {
        "params": params.model_dump(include={"seed", "schedule", "timesteps", "model", "train", "score"}),
        "images": len(train.images),
        "parameters": sum(p.numel() for p in denoiser.net.parameters()),
        "cpu_seconds": round(seconds),
    }
    write_json(report / "about.json", about | describe_machine(device, precision))


def trained(params: Params, data: Dataset, device: torch.device, precision: str, report: Path) -> Denoiser:
    """The denoiser with averaged weights, in fp32; its loss on the way is in history.csv."""
    schedule, train = noise_schedule(params.schedule, params.timesteps), params.train
    torch.manual_seed(params.seed)
    net = GreyUNet(schedule, Greys.of(data.images), **made_for(data), **params.model.model_dump())
    net = net.to(device, memory_format=torch.channels_last)
    ema = Ema(net, train.ema_decay)
    optimiser = Optimiser(
        net.parameters(),
        train.learning_rate,
        train.steps,
        weight_decay=train.weight_decay,
        warmup_steps=train.warmup_steps,
        max_grad_norm=train.max_grad_norm,
        decay=train.decay,
        beta2=train.adam_beta2,
    )
    update = likelihood_update(
        Denoiser(net, schedule, "x0", precision),
        ema,
        optimiser,
        data.images.to(device),
        batch_size=train.batch_size,
        seed=params.seed,
    )
    state = {"net": net, "ema": ema, "optimiser": optimiser}
    steps = watched(fit(update, state, train.steps, train.log_every), "density", train.steps, train.batch_size)
    rows = ((step, *(means[column] for column in HISTORY)) for step, means in steps)
    write_table(report / "history.csv", ("step", *HISTORY), rows)
    return Denoiser(ema.net, schedule, "x0")


def density_of(denoiser: Denoiser, params: Params) -> Density:
    """The network's own estimates, and what it says of grey values at t = 1."""
    decode_to = partial(denoiser.net.decoder, FIRST_TIME)
    return Density(denoiser, partial(conditional, denoiser), decode_to, params.score, params.seed)


if __name__ == "__main__":
    run(main, "mnist", "report")
