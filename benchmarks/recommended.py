"""How good the samples of a trained model are, without and with guidance, by the external evaluator: one row a setting.

python -m benchmarks.recommended --mnist data/raw recommended.scale=1.7
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.evaluator import load_evaluator, training_data
from diffusion.data import classes_in_turn
from diffusion.denoiser import EVERYWHERE, Denoiser, Interval, Wrap, guidance, load_denoiser, record_evaluations
from diffusion.generation import of_denoiser
from diffusion.samplers.table import SamplerSetting
from stages.params.params import Params
from stages.shared.machine import machine_of

COLUMNS = ("accuracy", "fid", "precision", "recall", "coverage")


class Row(NamedTuple):
    """A sampler and how it is guided: `kind` is one of `choices.GUIDANCE`."""

    setting: SamplerSetting
    kind: str = "classifier_free"
    scale: float = 1.0
    interval: Interval = EVERYWHERE

    def wrap(self, early: Denoiser) -> Wrap:
        """The guidance, with `early` as the bad version where it takes one."""
        return guidance(self.scale, early if self.kind == "autoguidance" else None, self.interval)

    def __str__(self) -> str:
        """Sampler, steps, eta and spacing; kind, scale and interval of the guidance."""
        sampler, steps, eta, spacing = self.setting
        words = [f"{sampler} {steps}", f"eta {eta:g}" if eta else "", spacing if spacing != "trailing" else ""]
        words += [f"{self.kind} {self.scale:g}"] if self.scale != 1 else ["w = 1"]
        words += ["at log-SNR {:g}..{:g}".format(*self.interval)] if self.interval != EVERYWHERE else []
        return " ".join(filter(None, words))


DDIM, SOLVER = SamplerSetting("ddim", 50, 0.0), SamplerSetting("dpmpp_2m", 20)
ROWS = (
    Row(DDIM),
    Row(SamplerSetting("ddim", 50, 1.0)),
    Row(SOLVER),
    Row(SamplerSetting("sde_dpmpp_2m", 20)),
    *(Row(SOLVER, "classifier_free", scale) for scale in (1.3, 1.5, 2.0)),
    Row(SOLVER, "classifier_free", 1.5, (-3.0, 1.0)),
    *(Row(SOLVER, "autoguidance", scale) for scale in (1.5, 2.0, 3.0)),
)


def rows_of(params: Params) -> Iterator[Row]:
    """The settings of params.yaml: the verdict's at w = 1, and the recommended one."""
    recommended = params.recommended
    first, last = recommended.interval
    yield Row(SamplerSetting(**params.sampling.setting()))
    setting = SamplerSetting(**recommended.setting())
    yield Row(setting, recommended.guidance, recommended.scale, (first, last))


def main(arguments: argparse.Namespace) -> None:
    """Print a table: real training images first, then a row for every setting, all from the same start noise."""
    params = Params.load(Path()).changed(arguments.changes)
    device, precision = machine_of(params)
    denoiser, early = (load_denoiser(path, device, precision)[0] for path in (arguments.model, arguments.early))
    evaluator, data = load_evaluator(arguments.mnist, params), training_data(params, arguments.mnist)
    labels = classes_in_turn(arguments.num, data.num_classes)

    def cells(row: Row) -> Iterator[str]:
        model = of_denoiser(denoiser, data.shape, row.setting.start, row.wrap(early))
        watch = partial(tqdm, desc=str(row), unit="batch")
        with record_evaluations(denoiser, early) as seen:
            images = model.images(labels, params.seed, "sample", params.sampling.batch_size, watch)
        found = evaluator.measure(images, labels)
        yield from (str(row), f"{sum(seen) / len(images):.4g}", *(f"{found[name]:.3f}" for name in COLUMNS))

    print(f"| n = {arguments.num} | NFE |", " | ".join(COLUMNS), "|")
    print("|---" * (2 + len(COLUMNS)), "|", sep="")
    floor = evaluator.floor(data.images, data.labels, arguments.num)
    print("| real training images | |", " | ".join(f"{floor[name]:.3f}" for name in COLUMNS), "|", flush=True)
    for row in dict.fromkeys([*rows_of(params), *(() if arguments.brief else ROWS)]):
        print("|", " | ".join(cells(row)), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recommended", description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST in torchvision's layout, as data.root")
    parser.add_argument("--model", type=Path, default=Path("models/denoiser.safetensors"))
    parser.add_argument("--early", type=Path, default=Path("models/early.safetensors"), help="the bad version of it")
    parser.add_argument("--num", type=int, default=1000, help="samples of each setting (default 1000)")
    parser.add_argument("--brief", action="store_true", help="only the two settings of params.yaml")
    parser.add_argument("changes", nargs="*", metavar="section.key=value")
    try:
        main(parser.parse_args())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
