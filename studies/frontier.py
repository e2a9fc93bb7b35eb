"""`make frontier`: network evaluations against quality, for every sampler, on the default run's model and judge.

It takes an hour or more: the row that all others are compared with takes T evaluations per image. Writes frontier.csv
and about.json, and keeps rows that it finds there if they come from the same model.
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from diffusion.data import classes_in_turn
from diffusion.denoiser import Denoiser, record_evaluations
from diffusion.generation import of_denoiser
from diffusion.quality.evaluation import Reference, verdict
from diffusion.runtime import describe_machine
from diffusion.samplers.table import SETTING_COLUMNS, SamplerSetting
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.origin import origin_of
from stages.shared.outputs import write_json, write_table

NUM_SAMPLES = 1000
SAMPLING_SEEDS = 3
FIGURES = ("fid", "accuracy", "precision", "recall", "clipped_density", "coverage")
COLUMNS = (*SETTING_COLUMNS, "calls", "seed", "n", *FIGURES)


def settings(timesteps: int) -> list[SamplerSetting]:
    """The rows, with DDPM last, since it takes most of the time."""
    return [
        *(SamplerSetting("ddim", steps, 0.0) for steps in (5, 10, 20, 50, 100)),
        *(SamplerSetting("ddim", steps, 1.0) for steps in (20, 50, 100)),
        *(SamplerSetting("heun", steps, spacing=spacing) for spacing in ("trailing", "karras") for steps in (3, 5, 10)),
        *(
            SamplerSetting(sampler, steps, spacing=spacing)
            for sampler in ("dpmpp_2m", "sde_dpmpp_2m", "unipc")
            for spacing in ("trailing", "log_snr", "karras")
            for steps in (5, 10, 20)
        ),
        SamplerSetting("ddpm", timesteps),
    ]


def main(params: Params, *, data: Path, card: Path, model: Path, judge: Path, report: Path) -> None:
    """Judge every sampler of --model, three sampling seeds each, on --data (its card: --card); write to --report."""
    denoiser, reference = open_judged(params, data, model, judge)
    about = origin_of(card) | about_model(params, model)
    known = known_rows(report, about)
    rows = quality_rows(denoiser, settings(params.timesteps), reference, params.sampling.batch_size, known)
    write_table(report / "frontier.csv", COLUMNS, rows)
    write_json(report / "about.json", about | describe_machine(denoiser.device, denoiser.precision))


def known_rows(report: Path, about: dict[str, object]) -> dict[tuple[SamplerSetting, int], list[str]]:
    """The rows of an earlier frontier by setting and seed, if it was of the same model."""
    if not (report / "about.json").exists():
        return {}
    earlier = json.loads((report / "about.json").read_text(encoding="utf-8"))
    if earlier["model_md5"] != about["model_md5"]:
        return {}
    with open(report / "frontier.csv", newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    known = {}
    for row in rows:
        sampler, steps, eta, spacing, _, seed, *_ = row
        known[SamplerSetting(sampler, int(steps), float(eta) if eta else None, spacing), int(seed)] = row
    return known


def quality_rows(
    denoiser: Denoiser,
    settings: Sequence[SamplerSetting],
    reference: Reference,
    batch_size: int,
    known: Mapping[tuple[SamplerSetting, int], Sequence[object]] = MappingProxyType({}),
) -> Iterator[Sequence[object]]:
    """COLUMNS for every setting and sampling seed, n = 1,000 each; known rows are not measured again."""
    labels = classes_in_turn(NUM_SAMPLES, reference.train.num_classes)
    runs = [(setting, seed) for setting in settings for seed in range(SAMPLING_SEEDS)]
    for setting, seed in tqdm(runs, desc="sampling", unit="row"):
        if (setting, seed) in known:
            yield known[setting, seed]
            continue
        model = of_denoiser(denoiser, reference.train.shape, setting.start)
        with record_evaluations(denoiser) as seen:
            images = model.images(labels, seed, "frontier", batch_size)
        figures = verdict(reference, images, labels).as_dict()
        yield [*setting, sum(seen) // NUM_SAMPLES, seed, NUM_SAMPLES, *(figures[name] for name in FIGURES)]


def about_model(params: Params, path: Path) -> dict[str, object]:
    """Which model was measured: its checksum as in dvc.lock, and the params that it follows from."""
    followed = {"seed", "schedule", "timesteps", "data", "model", "train"}
    return {
        "model_md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
        "params": params.model_dump(include=followed),
    }


if __name__ == "__main__":
    run(main)
