"""Stage `compare`: diffusion, GAN and VAE by one judge: quality, mode coverage, likelihood and speed."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.baselines.gan import load_gan
from diffusion.baselines.vae import VaeModel, bounds, load_vae
from diffusion.data import Dataset, classes_in_turn, examples, to_float, to_uint8
from diffusion.denoiser import refuse_other_images
from diffusion.generation import ImageModel, of_denoiser, of_one_call
from diffusion.quality.classification import effective_number
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.metrics import Prdc
from diffusion.randomness import generator_for
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.ddim import by_ddim
from stages.params.keys import Compare
from stages.params.params import BaselineParams
from stages.shared.classifier_score import classifier_score
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.model_record import write_model_record
from stages.shared.outputs import write_json, write_table
from stages.shared.second import OPINION, opinion, opinion_floor, second_reference
from stages.shared.sheets import write_rows

FLOOR_DRAWS = 5
SCORE_DRAWS = 3  # trainings of a classifier on real images
SHOWN_PER_CLASS = 2
ENOUGH_SECONDS = 10.0  # of one row of the clock, which is not repeated beyond them
QUALITY = ("fid", "kid", "kid_std", "accuracy", *Prdc._fields, "sharpness", "classifier_score")
MODES = ("coverage_within", "classes", "effective_classes")
CLOCK = ("model", "calls", "batch", "images_per_second", "slowest", "fastest", "repeats")


class Entry(NamedTuple):
    """A model with the network evaluations that it takes per image, and its null label if it can be unconditional."""

    name: str
    evaluations: int
    model: ImageModel
    null: int | None = None


def main(
    params: BaselineParams, *, data: Path, model: Path, gan: Path, vae: Path, judge: Path, second: Path, results: Path
) -> None:
    """Compare --model, --gan and --vae on the data in --data by --judge and by --second; write to --results."""
    settings, batch_size = params.compare, params.sampling.batch_size
    denoiser, reference = open_judged(params, data, model, judge)
    other = second_reference(reference, second)
    machine, train = (denoiser.device, denoiser.precision), reference.train
    (gan_model, of_gan), (vae_model, of_vae) = load_gan(gan, *machine), load_vae(vae, *machine)
    for path, description in ((gan, of_gan), (vae, of_vae)):
        refuse_other_images(path, description, train.shape, train.num_classes)

    def diffusion(steps: int, eta: float = 0.0) -> Entry:
        return Entry("diffusion", steps, of_denoiser(denoiser, train.shape, by_ddim(steps, eta)), train.num_classes)

    entries = [
        *map(diffusion, settings.ddim_steps),
        Entry("gan", 1, of_one_call(gan_model, of_gan["net"]["latent"], machine[0])),
        Entry("vae", 1, of_one_call(vae_model, of_vae["net"]["latent"], machine[0])),
    ]
    write_quality(results, reference, other, entries, settings, batch_size)
    write_density(results, reference.test, vae_model, settings.importance_samples, params.seed, batch_size)
    nets = {"diffusion": denoiser.net, "gan": gan_model.net, "vae": vae_model.net}
    parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    floor = floor_of(reference, settings.num_samples)
    floors = {"floor": floor, "second_floor": opinion_floor(other, settings.num_samples)}
    trained_on_real = real_scores(reference, settings)
    write_json(results / "metrics.json", floors | {"classifier_score": trained_on_real, "parameters": parameters})

    ddpm = [] if params.timesteps in settings.ddim_steps else [diffusion(params.timesteps, eta=1.0)]
    rows = clock([*entries, *ddpm], settings.batch_sizes, settings.repeats, train.num_classes, params.seed)
    write_table(results / "timing.csv", CLOCK, rows)
    write_json(results / "timing.json", describe_machine(*machine))
    write_model_record(results / "model.json", model, params.train.steps)


def write_quality(
    results: Path,
    reference: Reference,
    second: Reference,
    entries: Sequence[Entry],
    settings: Compare,
    batch_size: int,
) -> None:
    """The verdict on every model's images of every class, the second judge's opinion of them, the accuracy of a
    classifier trained on them, the model's modes, and its first images below real ones."""
    names, number = reference.train.class_names, settings.num_samples
    labels = reference.classes(number)
    drawn = torch.randint(0, len(names), (number,), generator=generator_for(reference.seed, "compare/labels"))
    sheet, table, opinions = [examples(reference.test, SHOWN_PER_CLASS)], [], []
    for entry in tqdm(entries, desc="quality", unit="model"):
        images = entry.model.images(labels, reference.seed, "compare/classes", batch_size)
        asked = drawn if entry.null is None else torch.full_like(drawn, entry.null)
        at_random = entry.model.images(asked, reference.seed, "compare/random", batch_size)
        figures = verdict(reference, images, labels).as_dict() | modes(reference, images, labels, at_random)
        figures["sharpness"] = reference.sharpness(images)
        figures["classifier_score"] = score_of(reference, Dataset(images, labels, names), settings, 0)
        table.append([entry.name, entry.evaluations, number, *(figures[name] for name in (*QUALITY, *MODES))])
        opinions.append([entry.name, entry.evaluations, *opinion(second, images)])
        sheet.append(examples(Dataset(images, labels, names), SHOWN_PER_CLASS))
    write_table(results / "quality.csv", ["model", "calls", "n", *QUALITY, *MODES], table)
    write_table(results / "second.csv", ["model", "calls", *OPINION], opinions)
    write_rows(results / "samples.png", sheet)


def score_of(reference: Reference, samples: Dataset, settings: Compare, draw: int) -> float:
    """The classifier accuracy score of samples with labels; `draw` is that of the classifier's training."""
    return classifier_score(
        samples, reference.test, settings.classifier_steps, reference.judge.device, reference.seed, draw
    )


def real_scores(reference: Reference, settings: Compare) -> dict[str, Any]:
    """The classifier accuracy score of as many real training images as of samples, over several draws and trainings."""
    draws = [reference.training_draw(settings.num_samples, draw) for draw in range(SCORE_DRAWS)]
    scores = [score_of(reference, real, settings, draw) for draw, real in enumerate(draws)]
    return {"n": len(draws[0].images), "draws": SCORE_DRAWS, "mean": mean(scores), "std": stdev(scores)}


def modes(reference: Reference, images: Tensor, labels: Tensor, at_random: Tensor) -> dict[str, float | int | None]:
    """MODES, from images of labels (N,) and from images `at_random`, whose classes chance or the model chose."""
    features = reference.judge.see(images).features
    counts = reference.judge.see(at_random).logits.argmax(1).bincount(minlength=reference.train.num_classes)
    figures = reference.coverage_within_classes(features, labels), int((counts > 0).sum()), effective_number(counts)
    return dict(zip(MODES, figures, strict=True))


def floor_of(reference: Reference, number: int) -> dict[str, Any]:
    """Mean and standard deviation of every figure and of MODES, of as many real training images."""
    floor = reference.floor(number, FLOOR_DRAWS)
    draws = [reference.training_draw(floor.n, draw) for draw in range(FLOOR_DRAWS)]
    rows = [modes(reference, draw.images, draw.labels, draw.images) for draw in draws]
    means, stds = dict(floor.mean), dict(floor.std)
    for name in MODES:
        values = [value for row in rows if (value := row[name]) is not None]
        means[name], stds[name] = (mean(values), stdev(values)) if len(values) == len(rows) else (None, None)
    return {"n": floor.n, "mean": means, "std": stds}


def write_density(results: Path, test: Dataset, vae: VaeModel, num_samples: int, seed: int, batch_size: int) -> None:
    """Bits per dimension of the test split under the VAE, in fp32, and test images above their reconstructions."""
    exact, device = VaeModel(vae.net), next(vae.net.parameters()).device
    found = bounds(exact, test.images, test.labels, num_samples, seed, batch_size)
    per_bit, n = math.log(2) * test.images[0].numel(), len(test.images)
    table = [
        ["vae", name, -nats.mean().item() / per_bit, nats.std().item() / per_bit / math.sqrt(n), n]
        for name, nats in (
            ("ELBO", found.elbo),
            (f"importance-weighted, {num_samples} samples", found.importance),
            ("KL, a part of the ELBO", -found.kl),
        )
    ]
    write_table(results / "density.csv", ["model", "bound", "bits", "error", "n"], table)
    shown = examples(test, SHOWN_PER_CLASS)
    labels = torch.arange(len(test.class_names), device=device).repeat_interleave(SHOWN_PER_CLASS)
    again = to_uint8(exact.reconstruct(to_float(shown).to(device), labels)).cpu()
    write_rows(results / "reconstructions.png", [shown, again])


def clock(
    entries: Sequence[Entry], batch_sizes: Sequence[int], repeats: int, num_classes: int, seed: int
) -> Iterator[list[object]]:
    """Rows of CLOCK: images per second at batch size 1, and at those given.

    All batch sizes are tried at a model's fewest network evaluations; with more, the fastest of them is enough.
    """
    best: dict[str, int] = {}
    for entry in sorted(entries, key=lambda entry: entry.evaluations):
        rows: list[list[Any]] = []
        for size in (1, best[entry.name]) if entry.name in best else (1, *batch_sizes):
            labels = classes_in_turn(size, num_classes)
            if entry.name not in best:  # a warm-up for batches of this size
                entry.model.images(labels, seed, "compare/clock", size)
            rates = sorted(size / elapsed for elapsed in seconds_of(entry.model, labels, repeats, seed))
            rows.append([entry.name, entry.evaluations, size, median(rates), rates[0], rates[-1], len(rates)])
        best.setdefault(entry.name, max(rows, key=lambda row: row[3])[2])
        yield from rows


def seconds_of(model: ImageModel, labels: Tensor, repeats: int, seed: int) -> list[float]:
    """Seconds for one batch of images of these labels, `repeats` times or until ENOUGH_SECONDS are over."""
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < ENOUGH_SECONDS:
        with stopwatch(model.device) as elapsed:
            model.images(labels, seed, "compare/clock", len(labels))
        seconds += elapsed
    return seconds


if __name__ == "__main__":
    run(main)
