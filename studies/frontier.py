"""`make frontier`: network calls against quality, every sampler, on the model and the judge of the default run.

An hour or more: the row that all others are compared with takes T calls per image. Writes frontier.csv and about.json,
and keeps the rows that are there already if they are of the same model.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from tqdm import tqdm

from diffusion.data import gathered
from diffusion.denoiser import Denoiser, clipped, conditional, counted
from diffusion.quality.evaluation import Reference, verdict
from diffusion.randomness import image_noise
from diffusion.runtime import describe_machine
from diffusion.samplers.sampler import SamplerSetting, generate
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.outputs import write_json, write_table

NUM_SAMPLES = 1000
SAMPLING_SEEDS = 3
FIGURES = ("fid", "accuracy", "precision", "recall", "density", "coverage")
COLUMNS = (*SamplerSetting._fields, "calls", "seed", "n", *FIGURES)


def settings(timesteps: int) -> list[SamplerSetting]:
    """The rows: DDPM last, since it takes most of the time."""
    return [
        *(SamplerSetting("ddim", steps, 0.0) for steps in (5, 10, 20, 50, 100)),
        *(SamplerSetting("ddim", steps, 1.0) for steps in (20, 50, 100)),
        *(SamplerSetting("heun", steps, times=times) for times in ("trailing", "karras") for steps in (3, 5, 10)),
        *(
            SamplerSetting(sampler, steps, times=times)
            for sampler in ("dpmpp_2m", "sde_dpmpp_2m", "unipc")
            for times in ("trailing", "log_snr", "karras")
            for steps in (5, 10, 20)
        ),
        SamplerSetting("ddpm", timesteps),
    ]


def main(params: Params, *, data: Path, model: Path, judge: Path, report: Path) -> None:
    """Judge every sampler of --model, three sampling seeds each, against the data in --data; write to --report."""
    denoiser, reference = open_judged(params, data, model, judge)
    about = about_model(params, model)
    known = known_rows(report, about)
    rows = quality_rows(denoiser, settings(params.timesteps), reference, params.evaluate.batch_size, known)
    write_table(report / "frontier.csv", COLUMNS, rows)
    write_json(report / "about.json", about | describe_machine(denoiser.device, denoiser.precision))


def known_rows(report: Path, about: dict[str, object]) -> dict[tuple[SamplerSetting, int], list[str]]:
    """The rows of an earlier frontier of the same model, by setting and seed."""
    if not (report / "about.json").exists():
        return {}
    earlier = json.loads((report / "about.json").read_text(encoding="utf-8"))
    if any(earlier[name] != value for name, value in about.items()):
        return {}
    with open(report / "frontier.csv", newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    known = {}
    for row in rows:
        sampler, steps, eta, times, _, seed, *_ = row
        known[SamplerSetting(sampler, int(steps), float(eta) if eta else None, times), int(seed)] = row
    return known


def quality_rows(
    denoiser: Denoiser,
    settings: Sequence[SamplerSetting],
    reference: Reference,
    batch_size: int,
    known: Mapping[tuple[SamplerSetting, int], Sequence[object]] = MappingProxyType({}),
) -> Iterator[Sequence[object]]:
    """COLUMNS for every setting and sampling seed, n = 1,000 each; rows that are known are not measured again."""
    train, device = reference.train, denoiser.device
    labels = torch.arange(NUM_SAMPLES, device=device) % len(train.class_names)
    shape = train.images.shape[1:]
    runs = [(setting, seed) for setting in settings for seed in range(SAMPLING_SEEDS)]
    for setting, seed in tqdm(runs, desc="sampling", unit="row"):
        if (setting, seed) in known:
            yield known[setting, seed]
            continue
        times: list[float] = []
        batches = generate(
            lambda label: counted(clipped(conditional(denoiser, label)), times),  # noqa: B023
            denoiser.schedule,
            setting,
            labels,
            partial(image_noise, seed, "frontier", shape=shape, device=device),
            batch_size,
        )
        images = gathered(batches)
        calls = len(times) // math.ceil(NUM_SAMPLES / batch_size)
        figures = verdict(reference, images, labels).as_dict()
        yield [*setting, calls, seed, NUM_SAMPLES, *(figures[name] for name in FIGURES)]


def about_model(params: Params, path: Path) -> dict[str, object]:
    """Which model was measured: its checksum as dvc.lock has it, and the params that it follows from."""
    followed = {"seed", "schedule", "timesteps", "data", "model", "train"}
    return {
        "model_md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
        "params": params.model_dump(include=followed),
    }


if __name__ == "__main__":
    run(main)
