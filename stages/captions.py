"""Stage `captions`: measure the properties of every image, and describe them in captions."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset, load_both, save_sheet
from diffusion.latents.captions import Captions, choose_held_out, class_words, draw_captions
from diffusion.latents.grades import grade, terciles
from diffusion.latents.properties import KINDS, OF_STROKES, kind_of
from stages.params.params import LatentParams
from stages.shared.command import run
from stages.shared.outputs import write_json, write_table

EXAMPLES = 12  # images of every property on the sheet
SHOWN_TEXTS = 12


def main(params: LatentParams, *, data: Path, out: Path, results: Path) -> None:
    """Measure and caption the splits in --data; write the captions to --out and their card to --results."""
    train, test = load_both(data)
    kind = kind_of(params.captions.properties, params.data.dataset in OF_STROKES, train.shape[0])
    values = KINDS[kind].measure(train.images)
    captions = caption_split(params, kind, train, values, test)
    captions.save(out)
    save_sheet(results / "examples.png", examples(train.images, values), EXAMPLES)
    write_tables(results, captions, train)
    card = {
        "n_train": len(train.images),
        "n_captioned": sum(map(bool, captions.texts)),
        "captions_per_image": params.captions.per_image,
        "kind": kind,
        "properties": {name: part.adjectives for name, part in captions.properties.items()},
        "vocabulary": list(captions.vocabulary.words),
        "held_out": combinations(captions, train),
        "medians": dict(zip(captions.properties, values.median(dim=0).values.tolist(), strict=True)),
    }
    write_json(results / "card.json", card)


def write_tables(results: Path, captions: Captions, train: Dataset) -> None:
    """The terciles of every class, and a caption of each of the first images that have one."""
    rows = [
        [name, measured, *captions.bounds[label, column].tolist()]
        for (label, name), (column, measured) in product(enumerate(train.class_names), enumerate(captions.properties))
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
            "value": captions.properties[combination.name].adjectives[combination.grade],
            "n_train": int((unseen == index).sum()),
        }
        for index, combination in enumerate(captions.held_out)
    ]


def caption_split(params: LatentParams, kind: str, train: Dataset, values: Tensor, test: Dataset) -> Captions:
    """Captions of every training image, with these values, whose combination is not held out."""
    settings, properties = params.captions, KINDS[kind].properties
    words = class_words(train.class_names, properties)
    bounds = terciles(values, train.labels, train.num_classes)
    grades = grade(values, train.labels, bounds)
    out = tuple(choose_held_out(tuple(properties), len(words), settings.held_out))
    test_grades = grade(KINDS[kind].measure(test.images), test.labels, bounds)
    without = Captions(kind, words, out, bounds, grades, test_grades, ())
    unseen = without.unseen(train.labels, grades).tolist()
    texts = tuple(
        ()
        if unseen[k] >= 0
        else draw_captions(properties, words[label], of_image, k, settings.per_image, settings.left_out, params.seed)
        for k, (label, of_image) in enumerate(zip(train.labels.tolist(), grades.tolist(), strict=True))
    )
    return replace(without, texts=texts)


def examples(images: Tensor, values: Tensor) -> Tensor:
    """A row for every property: images evenly spread from its lowest to its highest value."""
    places = torch.linspace(0, len(images) - 1, EXAMPLES).round().long()
    return torch.cat([images[of_property.argsort()[places]] for of_property in values.T])


if __name__ == "__main__":
    run(main)
