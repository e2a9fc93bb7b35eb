"""`make frontier`: network calls against quality, every sampler, on the model and the judge of the default run.

An hour or more: the row that all others are compared with takes T calls per image. Writes frontier.csv and about.json.
"""

import argparse
import hashlib
from functools import partial

import torch
from tqdm import tqdm

from diffusion.data import load_both, to_uint8
from diffusion.denoiser import clipped, conditional, counted, load_denoiser, refuse_other_images
from diffusion.evaluation import Reference, verdict
from diffusion.judge import Judge
from diffusion.randomness import image_noise
from diffusion.runtime import describe_machine, pick_device, pick_precision, prepare_machine
from diffusion.sampler import SamplerSetting, generate
from stages.command import run
from stages.outputs import write_json, write_table
from stages.params import Params

NUM_SAMPLES = 1000
SAMPLING_SEEDS = 3
FIGURES = ("fid", "accuracy", "precision", "recall", "density", "coverage")


def settings(timesteps: int) -> list[SamplerSetting]:
    """The rows: DDPM last, since it takes most of the time."""
    return [
        *(SamplerSetting("ddim", steps, 0.0) for steps in (5, 10, 20, 50, 100)),
        *(SamplerSetting("ddim", steps, 1.0) for steps in (20, 50, 100)),
        *(SamplerSetting("heun", steps, times=times) for times in ("trailing", "karras") for steps in (3, 5, 10)),
        *(
            SamplerSetting(sampler, steps, times=times)
            for sampler in ("dpmpp_2m", "unipc")
            for times in ("trailing", "log_snr", "karras")
            for steps in (5, 10, 20)
        ),
        SamplerSetting("ddpm", timesteps),
    ]


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Judge every sampler of --model, three sampling seeds each, against the data in --data; write to --report."""
    device = pick_device(params.device)
    precision = pick_precision(params.precision, device)
    prepare_machine(device)
    denoiser, description = load_denoiser(arguments.model, device, precision)
    train, test = load_both(arguments.data)
    refuse_other_images(arguments.model, description, train.images.shape[1:], len(train.class_names))
    reference = Reference(Judge.load(arguments.judge, device), train, test, params.seed)
    labels = torch.arange(NUM_SAMPLES, device=device) % len(train.class_names)
    shape = tuple(train.images.shape[1:])

    def row(setting: SamplerSetting, seed: int) -> list[object]:
        times: list[float] = []
        noise_for = partial(image_noise, seed, "frontier", shape=shape, device=device)
        batches = generate(
            lambda label: counted(clipped(conditional(denoiser, label)), times),
            denoiser.schedule,
            setting,
            labels,
            noise_for,
            params.evaluate.batch_size,
        )
        images = torch.cat([to_uint8(batch).cpu() for batch in batches])
        calls = len(times) // -(-NUM_SAMPLES // params.evaluate.batch_size)
        figures = verdict(reference, images, labels).as_dict()
        return [*setting, calls, seed, NUM_SAMPLES, *(figures[name] for name in FIGURES)]

    runs = [(setting, seed) for setting in settings(params.timesteps) for seed in range(SAMPLING_SEEDS)]
    rows = (row(*run) for run in tqdm(runs, desc="frontier", unit="row"))
    write_table(arguments.report / "frontier.csv", [*SamplerSetting._fields, "calls", "seed", "n", *FIGURES], rows)
    model = hashlib.md5(arguments.model.read_bytes()).hexdigest()  # as dvc.lock has it
    write_json(arguments.report / "about.json", {"model_md5": model, **describe_machine(device, precision)})


if __name__ == "__main__":
    run(main, "data", "model", "judge", "report")
