"""How good a recipe is: train on mnist5k with params.yaml and some changes, measure 1,000 samples, print one row.

python -m benchmarks.recipe --mnist data/raw train.times=uniform model.channels=[64,128]
"""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

from benchmarks.evaluator import Evaluator, load_evaluator, training_data
from diffusion.data import Dataset, classes_in_turn
from diffusion.denoiser import Denoiser
from diffusion.generation import of_denoiser
from diffusion.samplers.ddim import by_ddim
from diffusion.schedule import noise_schedule
from diffusion.training.loop import fit, state_of
from stages.params.params import Params
from stages.shared.machine import machine_of
from stages.shared.progress import run_training
from stages.train import training_of

NUM_SAMPLES = 1000
SAMPLING_STEPS = 50
TRIAL_STEPS = 24
COLUMNS = ("accuracy", "fid", "precision", "recall", "clipped_density", "coverage")


def main(arguments: argparse.Namespace) -> None:
    """Print the row, under its header."""
    params = Params.load(Path()).changed(arguments.changes)
    device, precision = machine_of(params)
    evaluator = load_evaluator(arguments.mnist, params)
    data = training_data(params, arguments.mnist)
    if arguments.cpu_seconds:
        params = fit_into(params, data, arguments.cpu_seconds)
    update, learners = training_of(params, data, device, precision)
    start = time.perf_counter(), time.process_time()
    train = params.train
    run_training("denoiser", update, learners, train.steps, train.batch_size, train.log_every)
    seconds, cpu_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    denoiser = Denoiser(
        learners["denoiser"].ema.net, noise_schedule(params.schedule, params.timesteps), train.target, precision
    )
    figures = measure(evaluator, denoiser, params, data)
    print("| changes | steps | CPU seconds | seconds | images/s |", " | ".join(COLUMNS), "|")
    print(
        f"| {' '.join(arguments.changes) or 'none'} | {train.steps} | {cpu_seconds:.0f} | {seconds:.0f} "
        f"| {train.steps * train.batch_size / seconds:.0f} |",
        " | ".join(f"{figures[name]:.3f}" for name in COLUMNS),
        "|",
    )


def fit_into(params: Params, data: Dataset, cpu_seconds: float) -> Params:
    """The params with as many training steps as fit into a CPU time, judging by a short trial."""
    update, learners = training_of(params, data, *machine_of(params))
    steps = fit(update, state_of(learners), TRIAL_STEPS, 1)
    list(islice(steps, TRIAL_STEPS // 6))  # warm-up
    start = time.process_time()
    number = len(list(steps))
    steps = int(cpu_seconds / ((time.process_time() - start) / number))
    return params.model_copy(update={"train": params.train.model_copy(update={"steps": steps})})


def measure(evaluator: Evaluator, denoiser: Denoiser, params: Params, data: Dataset) -> dict[str, float]:
    """The external evaluator's figures for samples by DDIM (eta = 0, w = 1)."""
    labels = classes_in_turn(NUM_SAMPLES, data.num_classes)
    model = of_denoiser(denoiser, data.shape, by_ddim(SAMPLING_STEPS))
    return evaluator.measure(model.images(labels, params.seed, "sample", params.sampling.batch_size), labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST in torchvision's layout, as data.root")
    parser.add_argument("--cpu-seconds", type=float, help="train as long as this (default: train.steps)")
    parser.add_argument("changes", nargs="*", metavar="section.key=value")
    try:
        main(parser.parse_args())
    except ValueError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
