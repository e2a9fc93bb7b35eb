"""The second judge's opinion of samples that the first has judged: which findings rest on the first alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.judge import SECOND, Judge

OPINION = ("n", "fid", "kid", "kid_std", "accuracy", "recall")


def second_reference(reference: Reference, path: Path) -> Reference:
    """The same real images, seen by the second judge in a file. Raises ValueError as `Judge.load`."""
    return replace(reference, judge=Judge.load(path, reference.judge.device, SECOND))


def opinion(second: Reference, images: Tensor) -> list[Any]:
    """OPINION of samples uint8 (N, C, H, W), of all classes by their shares."""
    figures = verdict(second, images, second.classes(len(images))).as_dict()
    return [figures[name] for name in OPINION]


def opinion_floor(second: Reference, number: int) -> dict[str, Any]:
    """Mean and standard deviation of the measures of as many real training images."""
    floor = second.floor(number)
    return {"n": floor.n, "draws": floor.draws, "mean": floor.mean, "std": floor.std}
