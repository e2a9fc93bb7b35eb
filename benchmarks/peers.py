"""`make peers`: this project beside the libraries that people would use instead, with equal training times.

Every library of benchmarks/libraries.py is trained in both of its forms; the external evaluator measures 1,000 digits
of each. This project's one training has two rows, at w = 1 like all others and in the recommended, guided setting.
Writes every row to peers.csv as soon as it is measured (those named on the command line, by default all), and prints
the table of README.md.
"""

import argparse
import csv
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.evaluator import Evaluator, load_evaluator, training_data
from benchmarks.libraries import CLASSES, FORMS, PEERS, SAMPLING_STEPS, SIZE, Peer
from benchmarks.recommended import rows_of
from diffusion.choices import NETS
from diffusion.data import Dataset, classes_in_turn, gather, to_float
from diffusion.denoiser import Conditional, Denoiser, Wrap, clipped
from diffusion.randomness import image_noise
from diffusion.runtime import autocast, describe_machine, pick_precision, prepare_machine
from diffusion.samplers.ddim import by_ddim
from diffusion.samplers.step import Walk, final
from diffusion.schedule import noise_schedule
from diffusion.training.batches import batch_indices
from diffusion.training.optimiser import DECAYS, Ema
from stages.params.keys import Model
from stages.params.params import Params
from stages.shared.outputs import write_json, write_table
from stages.train import training_of

NUM_SAMPLES = 1000
SAMPLING_BATCH = 100
OVERHEAD_REPEATS = 7
TRIAL_STEPS = 12
WARMUP_STEPS = 100
FIGURES = ("fid", "accuracy", "precision", "recall", "clipped_density", "coverage")
COLUMNS = (
    "library", "version", "form", "arithmetic", "batch_size", "parameters", "seconds", "steps", "images_per_second",
    *FIGURES, "overhead", "settings", "date",
)  # fmt: skip
OURS = "this project"
Evaluate = Callable[[Tensor, Tensor], None]  # the network once, of a batch and its labels
ROWS = (OURS, *(f"{name}:{form}" for form in reversed(FORMS) for name in PEERS))


def main(arguments: argparse.Namespace) -> None:
    """Measure the requested rows, write each to peers.csv as soon as it is complete, print the table."""
    for name in arguments.rows:
        if name not in ROWS:
            raise ValueError(f"row: {name!r} is unknown (allowed: {', '.join(ROWS)})")
    params = Params.load(Path())
    device = torch.device("cpu")
    prepare_machine(device)
    evaluator = load_evaluator(arguments.mnist, params)
    data = training_data(params, arguments.mnist)
    path = arguments.report / "peers.csv"
    machine = {name: value for name, value in describe_machine(device, "").items() if name != "precision"}
    floor = evaluator.floor(data.images, data.labels, NUM_SAMPLES)
    origin = {"data": {"dataset": params.data.dataset}}
    about = origin | machine | {"seconds": arguments.seconds, "floor": floor}
    write_json(arguments.report / "about.json", about)
    for name in arguments.rows or ROWS:
        torch.manual_seed(params.seed)
        library, _, form = name.partition(":")
        if name == OURS:
            rows = measure_ours(params, data, evaluator, arguments.seconds)
        else:
            rows = [measure_peer(PEERS[library](form), params, data, evaluator, arguments.seconds)]
        measured = {(row["library"], row["form"]) for row in rows}
        kept = [old for old in read_rows(path) if (old["library"], old["form"]) not in measured]
        write_table(path, COLUMNS, [[row[column] for column in COLUMNS] for row in [*kept, *rows]])
        print(table(rows))
    print(table(read_rows(path)))


def measure_peer(peer: Peer, params: Params, data: Dataset, evaluator: Evaluator, seconds: float) -> dict[str, object]:
    """The row of a library."""
    precision = faster_precision(peer, data) if peer.tuned else "fp32"
    start = time.monotonic()
    net, steps = train_peer(peer, data, params.seed, seconds, precision)
    seconds = time.monotonic() - start

    def sample(label: Tensor) -> Tensor:
        with autocast(label.device, precision):
            return peer.sample(net, label).float()

    def evaluate(x: Tensor, label: Tensor) -> None:
        with autocast(label.device, precision):
            peer.evaluate(net, x, label)

    return {
        "library": peer.library,
        "version": version(peer.library),
        "form": peer.form,
        "settings": peer.settings,
        **common_columns(
            evaluator, sample, evaluate if peer.tuned else None, peer.net, precision, peer.batch_size, steps, seconds
        ),
    }


def measure_ours(params: Params, data: Dataset, evaluator: Evaluator, seconds: float) -> list[dict[str, object]]:
    """The rows of this project: params.yaml, except that the learning rate decays with time, as in the tuned rows."""
    device, train = torch.device("cpu"), params.train
    precision = pick_precision(params.precision, device)
    update, learners = training_of(params, data, device, precision)
    net, _, optimiser, ema = learners["denoiser"]
    early_ema = Ema(net, train.ema_decay)
    start = time.monotonic()

    def learning_rate_at(step: int) -> float:
        share = min(1.0, (time.monotonic() - start) / seconds)
        return train.learning_rate * min(1.0, (step + 1) / train.warmup_steps) * DECAYS[train.decay](share)

    optimiser.learning_rate_at = learning_rate_at
    steps = 0
    while (elapsed := time.monotonic() - start) < seconds:
        update(steps)
        if elapsed < train.early_share * seconds:
            early_ema.update(net, steps)
        steps += 1
    seconds = time.monotonic() - start
    schedule = noise_schedule(params.schedule, params.timesteps)
    denoiser, early = (Denoiser(one.net, schedule, train.target, precision) for one in (ema, early_ema))

    def sampling(walk: Walk, wrap: Wrap = Conditional) -> Callable[[Tensor], Tensor]:
        batches = count()

        def sample(label: Tensor) -> Tensor:
            first = next(batches) * len(label)
            normals = image_noise(params.seed, "peers", range(first, first + len(label)), (1, SIZE, SIZE))
            return final(walk(clipped(wrap(denoiser, label)), schedule, normals))

        return sample

    def evaluate(x: Tensor, label: Tensor) -> None:
        denoiser.predict(x, params.timesteps / 2, label)

    def row(
        form: str, settings: str, sample: Callable[[Tensor], Tensor], evaluate: Evaluate | None
    ) -> dict[str, object]:
        common = common_columns(evaluator, sample, evaluate, net, precision, train.batch_size, steps, seconds)
        return {"library": OURS, "version": "", "form": form, "settings": settings, **common}

    settings = f"params.yaml: {network(params.model)}, {train.target}, {params.schedule} schedule, DDIM"
    _, recommended = rows_of(params)
    guided = sampling(recommended.setting.start, recommended.wrap(early))
    return [
        row("", settings, sampling(by_ddim(SAMPLING_STEPS)), evaluate),
        row("recommended", f"the same training, guided: {recommended}", guided, None),
    ]


def network(model: Model) -> str:
    """A network in a few words."""
    patches = f"on {model.patch}x{model.patch} patches"
    if model.kind == "unet":
        return f"UNet {'/'.join(map(str, model.channels))} {patches}"
    return f"{NETS[model.kind]}, {model.depth} blocks of {model.width}, {patches}"


def train_peer(peer: Peer, data: Dataset, seed: int, seconds: float, precision: str) -> tuple[nn.Module, int]:
    """Train for a number of seconds; returns the network to sample with, and the number of steps."""
    net, parameters = peer.net, list(peer.net.parameters())
    if peer.tuned:
        net.to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(parameters, peer.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    else:
        optimiser = peer.documented_optimiser(parameters, peer.learning_rate)
    ema = Ema(net, peer.ema_decay)
    start = last_word = time.monotonic()
    step = 0
    while (elapsed := time.monotonic() - start) < seconds:
        if peer.tuned:
            rate = min(1.0, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * elapsed / seconds)) / 2
            optimiser.param_groups[0]["lr"] = peer.learning_rate * rate
        loss = training_loss(peer, data, seed, step, precision)
        optimiser.zero_grad()
        loss.backward()
        if peer.tuned:
            nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        ema.update(net, step)
        step += 1
        if time.monotonic() - last_word > 30:
            last_word = time.monotonic()
            print(f"{peer.library} ({peer.form}): step {step}, loss {loss:.4f}, {elapsed:.0f} s", file=sys.stderr)
    return (ema.net if peer.ema_decay else net).eval(), step


def training_loss(peer: Peer, data: Dataset, seed: int, step: int, precision: str) -> Tensor:
    """The library's loss on training batch `step`: the same digits in the same order for all."""
    index = batch_indices(len(data.images), peer.batch_size, seed, "peers", step)
    x_0 = to_float(data.images[index])
    if peer.tuned:
        x_0 = x_0.contiguous(memory_format=torch.channels_last)
    with autocast(x_0.device, precision):
        return peer.loss(x_0, data.labels[index]).float()


def faster_precision(peer: Peer, data: Dataset) -> str:
    """fp32 or bf16, whichever trains the library's network faster here."""
    seconds = {}
    for precision in ("fp32", "bf16"):
        for step in range(TRIAL_STEPS):
            if step == TRIAL_STEPS // 3:  # the steps before are a warm-up
                start = time.monotonic()
            training_loss(peer, data, 0, step, precision).backward()
        seconds[precision] = time.monotonic() - start
        peer.net.zero_grad()
    return min(seconds, key=seconds.__getitem__)


@torch.inference_mode()
def common_columns(
    evaluator: Evaluator,
    sample: Callable[[Tensor], Tensor],
    evaluate: Evaluate | None,
    net: nn.Module,
    precision: str,
    batch_size: int,
    steps: int,
    seconds: float,
) -> dict[str, object]:
    """The columns common to all rows; without `evaluate`, the overhead is left out."""
    labels = classes_in_turn(NUM_SAMPLES, CLASSES)
    batches = labels.split(SAMPLING_BATCH)
    images = gather(sample(label) for label in tqdm(batches, desc="sampling", unit="batch"))
    figures = evaluator.measure(images, labels)
    return {
        "arithmetic": precision,
        "batch_size": batch_size,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "seconds": round(seconds),
        "steps": steps,
        "images_per_second": round(steps * batch_size / seconds),
        **{name: figures[name] for name in FIGURES},
        "overhead": overhead(sample, evaluate) if evaluate else None,
        "date": datetime.now(UTC).date().isoformat(),
    }


def overhead(sample: Callable[[Tensor], Tensor], evaluate: Evaluate) -> float:
    """The time of sampling relative to as many bare network evaluations: the median of pairs measured in succession."""
    label = classes_in_turn(SAMPLING_BATCH, CLASSES)
    x = torch.randn(len(label), 1, SIZE, SIZE)
    ratios = []
    for _ in range(OVERHEAD_REPEATS):
        start = time.perf_counter()
        sample(label)
        middle = time.perf_counter()
        for _ in range(SAMPLING_STEPS):
            evaluate(x, label)
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return median(ratios)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows measured so far."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(rows: Iterable[Mapping[str, object]]) -> str:
    """The rows as a Markdown table, the best FID last."""
    lines = [
        "| library | settings | arithmetic, batch | images/s | FID | accuracy | coverage | overhead |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: -float(row["fid"])):
        name = " ".join(filter(None, (row["library"], row["version"], row["form"] and f"({row['form']})")))
        share = f"{float(row['overhead']):.2f}" if row["overhead"] else ""
        lines.append(
            f"| {name} | {row['settings']} | {row['arithmetic']}, {row['batch_size']} | {row['images_per_second']} "
            f"| {float(row['fid']):.1f} | {float(row['accuracy']):.1%} | {float(row['coverage']):.2f} | {share} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST in torchvision's layout, as data.root")
    parser.add_argument("--report", type=Path, default=Path("reports/peers"))
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, for each row")
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    try:
        main(parser.parse_args())
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error} (pip install -e '.[peers]' brings the other libraries)")
    except ValueError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
