"""Stage `captions`: what the strokes of every digit measure, and captions that say so in words."""

import argparse
from itertools import product

import torch
from torch import Tensor

from diffusion.captions import ADJECTIVES, Captions, captioned, class_word, held_out
from diffusion.data import Dataset, load_both, save_sheet
from diffusion.strokes import PROPERTIES, graded, measured, terciles
from stages.command import run
from stages.outputs import write_json, write_table
from stages.params import Params

EXAMPLES = 12  # of every grade, on the sheet
SHOWN_TEXTS = 12


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Measure and caption the splits in --data; write the captions to --out and their card to --report."""
    train, test = load_both(arguments.data)
    values, num_classes = measured(train.images), len(train.class_names)
    bounds = terciles(values, train.labels, num_classes)
    captions = captioned_split(params, train, values, bounds, graded(measured(test.images), test.labels, bounds))
    captions.save(arguments.out)

    report = arguments.report
    unseen = captions.unseen(train.labels, captions.train_grades)
    save_sheet(report / "examples.png", examples(train.images, values), EXAMPLES)
    write_table(
        report / "terciles.csv",
        ["class", "property", "lower", "upper"],
        [
            [name, PROPERTIES[column], *bounds[label, column].tolist()]
            for (label, name), column in product(enumerate(train.class_names), range(len(PROPERTIES)))
        ],
    )
    shown = [k for k, texts in enumerate(captions.texts) if texts][:SHOWN_TEXTS]
    write_table(
        report / "captions.csv",
        ["class", "caption"],
        [[train.class_names[train.labels[k]], captions.texts[k][0]] for k in shown],
    )
    combinations = [
        {
            "class": train.class_names[c.label],
            "property": c.name,
            "value": ADJECTIVES[c.name][c.grade],
            "n_train": int((unseen == index).sum()),
        }
        for index, c in enumerate(captions.held_out)
    ]
    card = {
        "n_train": len(train.images),
        "n_captioned": int((unseen < 0).sum()),
        "captions_per_image": params.captions.per_image,
        "vocabulary": list(captions.vocabulary.words),
        "held_out": combinations,
        "medians": dict(zip(PROPERTIES, values.median(dim=0).values.tolist(), strict=True)),
    }
    write_json(report / "card.json", card)


def captioned_split(params: Params, train: Dataset, values: Tensor, bounds: Tensor, test_grades: Tensor) -> Captions:
    """Captions of every training image but those of held-out combinations."""
    settings = params.captions
    words = tuple(map(class_word, train.class_names))
    grades = graded(values, train.labels, bounds)
    combinations = tuple(held_out(len(words), settings.held_out))
    without = Captions(words, combinations, bounds, grades, test_grades, ())
    unseen = without.unseen(train.labels, grades).tolist()
    texts = tuple(
        ()
        if unseen[k] >= 0
        else captioned(words[label], of_image, k, settings.per_image, settings.left_out, params.seed)
        for k, (label, of_image) in enumerate(zip(train.labels.tolist(), grades.tolist(), strict=True))
    )
    return Captions(words, combinations, bounds, grades, test_grades, texts)


def examples(images: Tensor, values: Tensor) -> Tensor:
    """A row per property: images evenly spread from the lowest to the highest value."""
    places = torch.linspace(0, len(images) - 1, EXAMPLES).round().long()
    return torch.cat([images[values[:, column].argsort()[places]] for column in range(len(PROPERTIES))])


if __name__ == "__main__":
    run(main, "data", "out", "report")
