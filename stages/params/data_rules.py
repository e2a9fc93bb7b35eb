"""Which data can be used, and which params go with them.

`prepare` tells all conflicts at once. Those of a chapter do not stop it, since the spine needs no chapter: they stop
stages of that chapter, and are told as early as they are known.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from diffusion.data import Dataset
from diffusion.latents.captions import choose_held_out, class_words
from diffusion.latents.properties import KINDS, OF_STROKES, kind_of
from diffusion.mapping import blocks_of
from stages.params.keys import Keys, LatentKeys
from stages.params.params import BaselineParams, LatentParams, ScoreParams
from stages.params.rules import Conflict, in_one_line


def refuse_misfit(keys: Keys, train: Dataset, test: Dataset) -> None:
    """Raise ValueError, one line with every conflict, for data that cannot be used, alone or with these params."""
    found = [*unusable(train, test), *chain.from_iterable(rule(keys, train) for rule in _rules(keys))]
    if found:
        raise ValueError(in_one_line(found))


def misfits_of_chapters(root: Path, train: Dataset, test: Dataset) -> Iterator[str]:
    """Why chapters of the checkout `root` cannot run with its params and these data, in one line each."""
    for kind in (ScoreParams, LatentParams, BaselineParams):
        try:
            refuse_misfit(kind.load(root), train, test)
        except (ValueError, OSError) as error:
            yield str(error)


def unusable(train: Dataset, test: Dataset) -> Iterator[str]:
    """Quality is measured by distances between images, which must differ."""
    if test.labels.bincount().max() < 2:
        yield "data: no class has two test images, to measure diversity by (data.test_limit or data.root leave too few)"
    for name, part in (("training", train), ("test", test)):
        if all((block == part.images[0]).all() for block in blocks_of(part.images)):
            yield f"data: all {len(part.images)} {name} images are the same (allowed: images that differ)"


def classes_can_be_captioned(keys: LatentKeys, train: Dataset) -> Iterator[str]:
    """Captions have words for every class, and combinations to hold out."""
    settings = keys.captions
    properties = KINDS[kind_of(settings.properties, keys.data.dataset in OF_STROKES, train.shape[0])].properties
    for needed in (
        partial(class_words, train.class_names, properties),
        partial(choose_held_out, tuple(properties), train.num_classes, settings.held_out),
    ):
        try:
            needed()
        except ValueError as error:
            yield str(error)


def samples_of_every_class(keys: LatentKeys, train: Dataset) -> Iterator[Conflict]:
    """Samples are compared class by class."""
    if keys.sample_latent.num_samples < train.num_classes:
        allowed = f"{train.num_classes}, one for each class, or more"
        yield Conflict("sample_latent.num_samples", keys.sample_latent.num_samples, allowed)


RULES: dict[type[Keys], tuple[Callable[..., Iterator[object]], ...]] = {
    LatentKeys: (classes_can_be_captioned, samples_of_every_class)
}


def _rules(keys: Keys) -> Iterator[Callable[..., Iterator[object]]]:
    return chain.from_iterable(rules for kind, rules in RULES.items() if isinstance(keys, kind))
