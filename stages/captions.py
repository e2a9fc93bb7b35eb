"""Stage `captions`: measure the strokes of every image, and describe them in captions."""

from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset, load_both, save_sheet
from diffusion.latents.captions import ADJECTIVES, Captions, choose_held_out, class_words, draw_captions
from diffusion.latents.strokes import PROPERTIES, grade, measure, terciles
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.outputs import write_json, write_table

EXAMPLES = 12  # images of every property on the sheet
SHOWN_TEXTS = 12


def main(params: LatentParams, *, data: Path, out: Path, results: Path) -> None:
    """Measure and caption the splits in --data; write the captions to --out and their card to --results."""
    train, test = load_both(data)
    values = measure(train.images)
    bounds = terciles(values, train.labels, train.num_classes)
    captions = caption_split(params, train, values, bounds, grade(measure(test.images), test.labels, bounds))
    captions.save(out)
    save_sheet(results / "examples.png", examples(train.images, values), EXAMPLES)
    write_tables(results, captions, train)
    card = {
        "n_train": len(train.images),
        "n_captioned": sum(map(bool, captions.texts)),
        "captions_per_image": params.captions.per_image,
        "vocabulary": list(captions.vocabulary.words),
        "held_out": combinations(captions, train),
        "medians": dict(zip(PROPERTIES, values.median(dim=0).values.tolist(), strict=True)),
    }
    write_json(results / "card.json", card)


def write_tables(results: Path, captions: Captions, train: Dataset) -> None:
    """The terciles of every class, and a caption of each of the first images that have one."""
    rows = [
        [name, PROPERTIES[column], *captions.bounds[label, column].tolist()]
        for (label, name), column in product(enumerate(train.class_names), range(len(PROPERTIES)))
    ]
    write_table(results / "terciles.csv", ["class", "property", "lower", "upper"], rows)
    shown = [k for k, texts in enumerate(captions.texts) if texts][:SHOWN_TEXTS]
    texts = [[train.class_names[train.labels[k]], captions.texts[k][0]] for k in shown]
    write_table(results / "captions.csv", ["class", "caption"], texts)


def combinations(captions: Captions, train: Dataset) -> list[dict[str, str | int]]:
    """The held-out combinations in words, and how many training images have each."""
    unseen = captions.unseen(train.labels, captions.train_grades)
    return [
        {
            "class": train.class_names[combination.label],
            "property": combination.name,
            "value": ADJECTIVES[combination.name][combination.grade],
            "n_train": int((unseen == index).sum()),
        }
        for index, combination in enumerate(captions.held_out)
    ]


def caption_split(
    params: LatentParams, train: Dataset, values: Tensor, bounds: Tensor, test_grades: Tensor
) -> Captions:
    """Captions of every training image whose combination is not held out."""
    settings = params.captions
    words = class_words(train.class_names)
    grades = grade(values, train.labels, bounds)
    out = tuple(choose_held_out(len(words), settings.held_out))
    without = Captions(words, out, bounds, grades, test_grades, ())
    unseen = without.unseen(train.labels, grades).tolist()
    texts = tuple(
        ()
        if unseen[k] >= 0
        else draw_captions(words[label], of_image, k, settings.per_image, settings.left_out, params.seed)
        for k, (label, of_image) in enumerate(zip(train.labels.tolist(), grades.tolist(), strict=True))
    )
    return Captions(words, out, bounds, grades, test_grades, texts)


def examples(images: Tensor, values: Tensor) -> Tensor:
    """A row for every property: images evenly spread from its lowest to its highest value."""
    places = torch.linspace(0, len(images) - 1, EXAMPLES).round().long()
    return torch.cat([images[values[:, column].argsort()[places]] for column in range(len(PROPERTIES))])


if __name__ == "__main__":
    run(main)
