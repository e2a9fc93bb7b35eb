"""Stage `compare`: diffusion, GAN and VAE on one judge: quality, mode coverage, density, and the clock."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.baselines.gan import load_gan
from diffusion.baselines.vae import VaeModel, bounds, load_vae
from diffusion.data import Dataset, examples, gathered, save_sheet, to_float, to_uint8
from diffusion.denoiser import Denoiser, clipped, conditional, refuse_other_images
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.metrics import effective_number, sharpness
from diffusion.randomness import generator, image_noise
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.sampler import SamplerSetting, generate, generate_at_once
from stages.params.params import BaselineParams
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.model_record import write_model_record
from stages.shared.outputs import write_json, write_table

FLOOR_DRAWS = 5
SHOWN_PER_CLASS = 2
ENOUGH_SECONDS = 10.0  # of one row of the clock: after them it is not repeated
QUALITY = ("fid", "kid", "kid_std", "accuracy", "precision", "recall", "density", "coverage", "sharpness")
MODES = ("coverage_within", "classes", "effective_classes")
CLOCK = ("model", "calls", "batch", "images_per_second", "slowest", "fastest", "repeats")
Batches = Callable[[Tensor, str, int], Iterator[Tensor]]  # (labels, purpose of the noise, batch size) -> images


class Contestant(NamedTuple):
    """A model with a number of network calls per image; `any_class` is the label that asks for none, if it has one."""

    model: str
    calls: int
    batches: Batches
    any_class: int | None = None

    def images(self, labels: Tensor, purpose: str, batch_size: int) -> Tensor:
        """Uint8 (N, C, H, W) on the CPU."""
        return gathered(self.batches(labels, purpose, batch_size))


def main(params: BaselineParams, *, data: Path, model: Path, gan: Path, vae: Path, judge: Path, report: Path) -> None:
    """Hold --model, --gan and --vae against the data in --data by --judge; write to --report."""
    settings = params.compare
    denoiser, reference = open_judged(params, data, model, judge)
    machine = denoiser.device, denoiser.precision
    (generator_model, of_gan), (vae_model, of_vae) = load_gan(gan, *machine), load_vae(vae, *machine)
    shape, num_classes = reference.train.images.shape[1:], len(reference.train.class_names)
    for path, description in ((gan, of_gan), (vae, of_vae)):
        refuse_other_images(path, description, shape, num_classes)
    diffusion = partial(by_diffusion, denoiser, shape, num_classes, params.seed)
    at_once = [
        by_latent("gan", generator_model, of_gan["net"]["latent"], params.seed),
        by_latent("vae", vae_model, of_vae["net"]["latent"], params.seed),
    ]
    contestants = [*(diffusion(SamplerSetting("ddim", steps, 0.0)) for steps in settings.steps), *at_once]

    batch_size = params.evaluate.batch_size
    write_quality(report, reference, contestants, settings.num_samples, batch_size, machine[0])
    write_density(report, reference.test, vae_model, settings.importance_samples, params.seed, batch_size)
    nets = {"diffusion": denoiser.net, "gan": generator_model.net, "vae": vae_model.net}
    parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    floor = floor_of(reference, settings.num_samples)
    write_json(report / "metrics.json", {"floor": floor, "parameters": parameters})

    ddpm = [] if params.timesteps in settings.steps else [diffusion(SamplerSetting("ddpm", params.timesteps))]
    rows = clock([*contestants, *ddpm], settings.batch_sizes, settings.repeats, num_classes, machine[0])
    write_table(report / "timing.csv", CLOCK, rows)
    write_json(report / "timing.json", describe_machine(*machine))
    write_model_record(report / "model.json", model, params.train.steps)


def by_diffusion(
    denoiser: Denoiser, shape: Sequence[int], num_classes: int, seed: int, setting: SamplerSetting
) -> Contestant:
    """The denoiser (w = 1) by a sampler that calls it once in every step."""

    def batches(labels: Tensor, purpose: str, batch_size: int) -> Iterator[Tensor]:
        noise_for = partial(image_noise, seed, purpose, shape=shape, device=labels.device)
        return generate(
            lambda label: clipped(conditional(denoiser, label)),
            denoiser.schedule,
            setting,
            labels,
            noise_for,
            batch_size,
        )

    return Contestant("diffusion", setting.steps, batches, any_class=num_classes)


def by_latent(name: str, model: Callable[[Tensor, Tensor], Tensor], latent: int, seed: int) -> Contestant:
    """A GAN or a VAE: one call for a latent of so many numbers."""

    def batches(labels: Tensor, purpose: str, batch_size: int) -> Iterator[Tensor]:
        latents_for = partial(image_noise, seed, purpose, shape=(latent,), device=labels.device)
        return generate_at_once(model, labels, latents_for, batch_size)

    return Contestant(name, 1, batches)


def write_quality(
    report: Path,
    reference: Reference,
    contestants: Sequence[Contestant],
    number: int,
    batch_size: int,
    device: torch.device,
) -> None:
    """Every contestant's verdict on images of every class, its modes, and its first images below real ones."""
    names, test = reference.train.class_names, reference.test
    labels = torch.arange(number, device=device) % len(names)
    draw = generator(reference.seed, "compare/labels")
    drawn = torch.randint(0, len(names), (number,), generator=draw).to(device)
    real_sharpness = sharpness(to_float(test.images))
    sheet, table = [examples(test, SHOWN_PER_CLASS)], []
    for one in tqdm(contestants, desc="quality", unit="model"):
        images = one.images(labels, "compare/classes", batch_size)
        asked = drawn if one.any_class is None else torch.full_like(drawn, one.any_class)
        at_random = one.images(asked, "compare/random", batch_size)
        figures = verdict(reference, images, labels).as_dict() | modes(reference, images, labels, at_random)
        figures["sharpness"] = sharpness(to_float(images)) / real_sharpness
        table.append([one.model, one.calls, number, *(figures[name] for name in (*QUALITY, *MODES))])
        sheet.append(examples(Dataset(images, labels.cpu(), names), SHOWN_PER_CLASS))
    write_table(report / "quality.csv", ["model", "calls", "n", *QUALITY, *MODES], table)
    save_sheet(report / "samples.png", torch.cat(sheet), len(sheet[0]))


def modes(reference: Reference, images: Tensor, labels: Tensor, at_random: Tensor) -> dict[str, float | int | None]:
    """MODES, from images of the labels asked for and from images of classes that chance or the model chose."""
    features = reference.judge.see(images).features
    read = reference.judge.see(at_random).logits.argmax(1).bincount(minlength=len(reference.train.class_names))
    figures = reference.coverage_within_classes(features, labels.cpu()), int((read > 0).sum()), effective_number(read)
    return dict(zip(MODES, figures, strict=True))


def floor_of(reference: Reference, number: int) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of what as many training images score, and MODES of them."""
    floor = reference.floor(number, FLOOR_DRAWS)
    draws = [reference.training_draw(floor.n, draw) for draw in range(FLOOR_DRAWS)]
    rows = [modes(reference, draw.images, draw.labels, draw.images) for draw in draws]
    means, stds = dict(floor.mean), dict(floor.std)
    for name in MODES:
        values = [row[name] for row in rows]
        means[name], stds[name] = (None, None) if None in values else (mean(values), stdev(values))
    return {"n": floor.n, "mean": means, "std": stds}


def write_density(report: Path, test: Dataset, vae: VaeModel, num_samples: int, seed: int, batch_size: int) -> None:
    """Bits per dimension of the test split under the VAE, in fp32, and test images beside their reconstructions."""
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
    write_table(report / "density.csv", ["model", "bound", "bits", "error", "n"], table)
    shown = examples(test, SHOWN_PER_CLASS)
    labels = torch.arange(len(test.class_names), device=device).repeat_interleave(SHOWN_PER_CLASS)
    again = to_uint8(exact.reconstruct(to_float(shown).to(device), labels)).cpu()
    save_sheet(report / "reconstructions.png", torch.cat([shown, again]), len(shown))


def clock(
    contestants: Sequence[Contestant], batch_sizes: Sequence[int], repeats: int, num_classes: int, device: torch.device
) -> Iterator[list[object]]:
    """Rows of CLOCK: images per second at batch 1, and at the batch sizes given.

    A model's batch sizes are tried with its fewest calls; with more, the fastest of them is enough.
    """
    best: dict[str, int] = {}
    for one in sorted(contestants, key=lambda one: one.calls):
        rows = []
        for size in (1, best[one.model]) if one.model in best else (1, *batch_sizes):
            labels = torch.arange(size, device=device) % num_classes
            if one.model not in best:  # a warm-up, for batches of this size
                one.images(labels, "compare/clock", size)
            rates = sorted(size / elapsed for elapsed in seconds_of(one, labels, repeats, device))
            rows.append([one.model, one.calls, size, median(rates), rates[0], rates[-1], len(rates)])
        best.setdefault(one.model, max(rows, key=lambda row: row[3])[2])
        yield from rows


def seconds_of(one: Contestant, labels: Tensor, repeats: int, device: torch.device) -> list[float]:
    """Seconds for one batch of images of these labels, `repeats` times if that does not take too long."""
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < ENOUGH_SECONDS:
        with stopwatch(device) as elapsed:
            one.images(labels, "compare/clock", len(labels))
        seconds += elapsed
    return seconds


if __name__ == "__main__":
    run(main)
