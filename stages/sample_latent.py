"""Stage `sample_latent`: do images show what their prompt says, even if training never did?"""

from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from diffusion.data import GREY, Dataset, examples
from diffusion.latents.captions import ARTICLE, Captions, Combination, caption
from diffusion.latents.model import record_attention
from diffusion.processes import alone
from diffusion.quality.classification import accuracy, confusion_matrix
from diffusion.quality.evaluation import verdict
from diffusion.randomness import generator_for
from diffusion.runtime import describe_machine, stopwatch
from stages.params.data_rules import refuse_misfit
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.model_record import write_model_record
from stages.shared.outputs import confusion_rows, write_json, write_table
from stages.shared.prompted import Prompted, Prompts
from stages.shared.sheets import per_class, write_sheet
from stages.shared.synonyms import write_synonyms
from stages.shared.together import in_processes

SHEET_COLUMNS = 10
NUM_MAPS = 6
REPEATS = 3
GROUPS = {"unseen": False, "seen": True}  # prompts of combinations that training never had, and the others


def main(params: LatentParams, *, data: Path, captions: Path, model: Path, judge: Path, results: Path) -> None:
    """Sample --model by prompts, judge the images, write to --results."""
    settings, batch_size = params.sample_latent, params.sampling.batch_size
    opened = Prompted.open(params, data, captions, model, judge)
    refuse_misfit(params, opened.reference.train, opened.reference.test)
    prompts = {group: opened.prompts(settings.num_prompts, seen) for group, seen in GROUPS.items()}
    shares: list[list[object]] = []
    counts: list[list[object]] = []
    for scale in settings.scales:
        for group, asked in prompts.items():
            images = opened.draw(asked.texts, settings.num_steps, scale, group, batch_size)
            add_rows(shares, counts, opened, images, asked, [group, scale])
            if group == "unseen":
                write_sheet(results / f"sheet_{scale:g}.png", by_combination(opened, asked, images), SHEET_COLUMNS)
    real = opened.reconstruct(opened.reference.test.images)
    add_rows(shares, counts, opened, real, opened.real(), ["reconstructed", None])
    write_table(results / "prompts.csv", ["group", "scale", "n", *opened.shares], shares)
    write_table(results / "confusion.csv", ["group", "scale", "property", "asked", "measured", "count"], counts)
    names = [words_of(combination, opened.captions) for combination in opened.captions.held_out]
    write_table(results / "sheet.csv", ["row", "prompt"], enumerate(names))
    if opened.model.words.takes_any:
        write_synonyms(results, opened, settings, batch_size)
    write_attention(results, opened, prompts["unseen"], settings.num_steps, settings.scales[-1])
    write_comparison(results, opened, settings.num_samples, params.sampling.num_steps, batch_size)
    write_clock(results, opened, params.benchmark.num_images, params.sampling.num_steps, batch_size)
    write_model_record(results / "model.json", model, params.train_latent.steps)


def add_rows(
    shares: list[list[object]],
    counts: list[list[object]],
    opened: Prompted,
    images: Tensor,
    asked: Prompts,
    key: list[object],
) -> None:
    """Add a row to the shares of images that follow their prompt, and the confusion of every property to the counts."""
    row, found = opened.judge(images, asked)
    shares.append([*key, len(images), *row])
    for column, name in enumerate(opened.captions.properties):
        confusion = confusion_matrix(found[:, column], asked.grades[:, column], 3)
        counts.extend([*key, name, *row] for row in confusion_rows(confusion, range(3)))


def by_combination(opened: Prompted, asked: Prompts, images: Tensor) -> Tensor:
    """The first images of every held-out combination, a row for each, with grey tiles where there are fewer."""
    rows = torch.full((len(opened.captions.held_out), SHEET_COLUMNS, *images.shape[1:]), GREY, dtype=torch.uint8)
    for index, row in enumerate(rows):
        found = images[asked.combination == index][:SHEET_COLUMNS]
        row[: len(found)] = found
    return rows.flatten(0, 1)


def words_of(combination: Combination, captions: Captions) -> str:
    """A held-out combination in words: thin zero."""
    grades = [combination.grade] * len(captions.properties)
    others = [name for name in captions.properties if name != combination.name]
    return caption(captions.properties, captions.class_words[combination.label], grades, without=[ARTICLE, *others])


def write_attention(results: Path, opened: Prompted, asked: Prompts, steps: int, scale: float) -> None:
    """Where each word is attended to: a row for every prompt, the image and then a map for every word.

    Maps are means over heads, blocks and steps, brightest where a word counts most; those of a prompt are scaled by the
    largest entry among them.
    """
    firsts = [int(torch.where(asked.combination == k)[0][0]) for k in asked.combination.unique().tolist()][:NUM_MAPS]
    labels, grades = asked.labels[firsts].tolist(), asked.grades[firsts].tolist()
    properties, of_class = opened.captions.properties, opened.captions.class_words
    texts = [caption(properties, of_class[k], of_image) for k, of_image in zip(labels, grades, strict=True)]
    with alone(), record_attention(opened.model.denoiser.net) as weights:
        images = opened.draw(texts, steps, scale, "attention", batch_size=len(texts))
    side = opened.model.latent_shape[-1]
    conditional = torch.stack(weights).mean(dim=0)[: len(texts)]  # guidance puts the null captions behind them
    maps = conditional.transpose(1, 2).unflatten(2, (side, side)).cpu()  # (B, 1 + L, h, w), the start token's first
    words = [opened.model.words.pieces(text) for text in texts]
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
    write_sheet(results / "attention.png", tiles.flatten(0, 1), columns)
    write_table(results / "attention.csv", ["row", "column", "word"], table)


def write_comparison(results: Path, opened: Prompted, number: int, steps: int, batch_size: int) -> None:
    """Quality of images whose captions name nothing but the class, to compare with pixel space at as many network
    evaluations."""
    reference, words = opened.reference, opened.captions.class_words
    labels = reference.classes(number)
    samples = opened.draw(opened.class_texts(number), steps, 1.0, "sample", batch_size)
    shown_of_each = per_class(len(words), SHEET_COLUMNS)
    by_class = examples(Dataset(samples, labels, words), shown_of_each)
    write_sheet(results / "samples.png", by_class, shown_of_each)
    train, test, see = reference.train.images, reference.test, reference.judge.see
    chosen = torch.randperm(len(train), generator=generator_for(reference.seed, "reconstructed"))[:number]
    figures = {
        **verdict(reference, samples, labels).as_dict(),
        "reconstructed": asdict(reference.quality(see(opened.reconstruct(train[chosen])).features)),
        "judge": {
            "real": accuracy(see(test.images).logits.argmax(1), test.labels),
            "reconstructed": accuracy(see(opened.reconstruct(test.images)).logits.argmax(1), test.labels),
            "n": len(test.images),
        },
        "sampler": "ddim",
        "calls": steps,
    }
    write_json(results / "metrics.json", figures)


def write_clock(results: Path, opened: Prompted, number: int, steps: int, batch_size: int) -> None:
    """Seconds for as many images as `benchmark` times, decoding included."""
    denoiser, texts, seconds = opened.model.denoiser, opened.class_texts(number), []
    for _ in range(1 + REPEATS):  # the first is a warm-up
        with alone(), stopwatch(denoiser.device) as elapsed:
            opened.draw(texts, steps, 1.0, "sample", batch_size)
        seconds += elapsed
    timing = {"seconds": median(seconds[1:]), "images": number, "calls": steps}
    write_json(results / "timing.json", timing | describe_machine(denoiser.device, denoiser.precision))


if __name__ == "__main__":
    run(main, in_processes)
