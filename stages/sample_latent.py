"""Stage `sample_latent`: do images hold what their prompt says, also where the training never showed it?"""

from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from diffusion.data import GREY, Dataset, examples, save_sheet
from diffusion.latents.captions import ARTICLE, Captions, caption
from diffusion.latents.model import attention_noted
from diffusion.latents.strokes import PROPERTIES
from diffusion.quality.evaluation import verdict
from diffusion.quality.judge import share_right
from diffusion.quality.metrics import confusion_matrix
from diffusion.randomness import generator
from diffusion.runtime import describe_machine, stopwatch
from diffusion.samplers.sampler import SamplerSetting
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.model_record import write_model_record
from stages.shared.outputs import confusion_rows, write_json, write_table
from stages.shared.prompted import SHARES, Measurement, Prompts

SHEET_COLUMNS = 10
NUM_MAPS = 6
REPEATS = 3
GROUPS = {"unseen": False, "seen": True}  # captions of combinations that the training never had, and the others


def main(params: LatentParams, *, data: Path, captions: Path, model: Path, judge: Path, report: Path) -> None:
    """Sample --model by prompts, measure what came out, write to --report."""
    settings = params.sample_latent
    measure = Measurement.of(params, data, captions, model, judge)
    refuse_fewer_than_classes(settings.num_samples, len(measure.captions.class_words))
    prompts = {group: measure.prompts(settings.num_prompts, seen) for group, seen in GROUPS.items()}
    setting = SamplerSetting("ddim", settings.steps, 0.0)
    shares, counts = [], []
    for scale in settings.scales:
        for group, asked in prompts.items():
            images = measure.images(asked.texts, setting, scale, group)
            note(shares, counts, measure, images, asked, [group, scale])
            if group == "unseen":
                save_sheet(report / f"sheet_{scale:g}.png", by_combination(measure, asked, images), SHEET_COLUMNS)
    test = measure.reference.test
    note(shares, counts, measure, measure.reconstructed(test.images), measure.real(), ["reconstructed", None])
    write_table(report / "prompts.csv", ["group", "scale", "n", *SHARES], shares)
    write_table(report / "confusion.csv", ["group", "scale", "property", "asked", "measured", "count"], counts)
    names = [held_out_words(measure.captions, k) for k in range(len(measure.captions.held_out))]
    write_table(report / "sheet.csv", ["row", "prompt"], enumerate(names))
    write_attention(report, measure, prompts["unseen"], setting, settings.scales[-1])
    write_comparison(report, measure, params)
    write_clock(report, measure, params)
    write_model_record(report / "model.json", model, params.train_latent.steps)


def refuse_fewer_than_classes(num_samples: int, num_classes: int) -> None:
    """Raises ValueError where there would be classes without a sample."""
    if num_samples < num_classes:
        allowed = f"{num_classes}, one for each class, or more"
        raise ValueError(f"sample_latent.num_samples: {num_samples} is not possible (allowed: {allowed})")


def note(
    shares: list[list[object]],
    counts: list[list[object]],
    measure: Measurement,
    images: Tensor,
    asked: Prompts,
    key: list[object],
) -> None:
    """Add a row to the shares that hold the prompt, and the confusion of every property to the counts."""
    row, found = measure.read(images, asked)
    shares.append([*key, len(images), *row])
    for column, name in enumerate(PROPERTIES):
        confusion = confusion_matrix(found[:, column], asked.grades[:, column], 3)
        counts.extend([*key, name, *row] for row in confusion_rows(confusion, range(3)))


def by_combination(measure: Measurement, asked: Prompts, images: Tensor) -> Tensor:
    """The first images of every held-out combination, a row each; grey where there are fewer."""
    rows = torch.full((len(measure.captions.held_out), SHEET_COLUMNS, *images.shape[1:]), GREY, dtype=torch.uint8)
    for index, row in enumerate(rows):
        found = images[asked.combination == index][:SHEET_COLUMNS]
        row[: len(found)] = found
    return rows.flatten(0, 1)


def held_out_words(captions: Captions, index: int) -> str:
    """A held-out combination in words: thin zero."""
    combination = captions.held_out[index]
    grades = [combination.grade] * len(PROPERTIES)
    others = [name for name in PROPERTIES if name != combination.name]
    return caption(captions.class_words[combination.label], grades, without=[ARTICLE, *others])


def write_attention(report: Path, measure: Measurement, asked: Prompts, setting: SamplerSetting, scale: float) -> None:
    """Which word looked where: a row per prompt, the image and then a map per word, brightest where it counted most.

    The mean over heads, blocks and steps; a row of maps is scaled by its largest entry.
    """
    model = measure.model
    firsts = [int(torch.where(asked.combination == k)[0][0]) for k in asked.combination.unique().tolist()][:NUM_MAPS]
    labels, grades = asked.labels[firsts].tolist(), asked.grades[firsts].tolist()
    texts = [caption(measure.captions.class_words[k], of_image) for k, of_image in zip(labels, grades, strict=True)]
    with attention_noted(model.denoiser.net) as noted:
        images = replace(measure, batch_size=len(texts)).images(texts, setting, scale, "attention")
    side = model.latent_shape[-1]
    conditional = torch.stack(noted).mean(dim=0)[: len(texts)]  # guidance puts the null captions behind them
    maps = conditional.transpose(1, 2).unflatten(2, (side, side)).cpu()  # (B, 1 + L, h, w)
    words = [text.split() for text in texts]
    columns = 1 + max(map(len, words))
    tiles = torch.full((len(texts), columns, *images.shape[1:]), GREY, dtype=torch.uint8)
    table = []
    for row, image in enumerate(images):
        of_words = maps[row, 1 : 1 + len(words[row])]
        bright = (255 * of_words / of_words.max()).round().to(torch.uint8)
        factor = image.shape[-1] // side
        tiles[row, 0] = image
        tiles[row, 1 : 1 + len(bright)] = bright.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, None]
        table += [[row, column, word] for column, word in enumerate(words[row], start=1)]
    save_sheet(report / "attention.png", tiles.flatten(0, 1), columns)
    write_table(report / "attention.csv", ["row", "column", "word"], table)


def write_comparison(report: Path, measure: Measurement, params: LatentParams) -> None:
    """Quality of captions that name the class alone, to be held against pixel space with as many calls."""
    number, setting = params.sample_latent.num_samples, SamplerSetting("ddim", params.evaluate.verdict_steps, 0.0)
    reference, words = measure.reference, measure.captions.class_words
    labels = torch.arange(number) % len(words)
    texts = measure.class_texts(number)
    samples = measure.images(texts, setting, 1.0, "sample")
    by_class = examples(Dataset(samples, labels, words), SHEET_COLUMNS)
    save_sheet(report / "samples.png", by_class, SHEET_COLUMNS)
    train = reference.train.images
    chosen = torch.randperm(len(train), generator=generator(params.seed, "reconstructed"))[:number]
    real = reference.quality(reference.judge.see(measure.reconstructed(train[chosen])).features)
    figures = {
        **verdict(reference, samples, labels).as_dict(),
        "reconstructed": asdict(real),
        "judge": {
            "real": share_right(reference.judge.see(reference.test.images).logits, reference.test.labels),
            "reconstructed": share_right(
                reference.judge.see(measure.reconstructed(reference.test.images)).logits, reference.test.labels
            ),
            "n": len(reference.test.images),
        },
        "sampler": setting.sampler,
        "calls": setting.steps,
    }
    write_json(report / "metrics.json", figures)


def write_clock(report: Path, measure: Measurement, params: LatentParams) -> None:
    """Seconds for the images of `benchmark`, decoding included."""
    few = measure.class_texts(params.benchmark.num_images)
    setting = SamplerSetting("ddim", params.evaluate.verdict_steps, 0.0)
    clock = []
    for _ in range(1 + REPEATS):  # the first is a warm-up
        with stopwatch(measure.model.denoiser.device) as elapsed:
            measure.images(few, setting, 1.0, "sample")
        clock += elapsed
    timing = {"seconds": median(clock[1:]), "images": len(few), "calls": setting.steps}
    machine = describe_machine(measure.model.denoiser.device, measure.model.denoiser.precision)
    write_json(report / "timing.json", timing | machine)


if __name__ == "__main__":
    run(main)
