"""One definition of quality: the real images that samples are compared with, and the verdict on samples."""

from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from diffusion.data import Dataset, classes_by_share, to_float
from diffusion.quality import metrics
from diffusion.quality.classification import accuracy, confusion_matrix
from diffusion.quality.judge import Judge
from diffusion.randomness import generator_for

ROUNDING = 1e-5  # of a feature vector: single precision, in batches of any size
MIN_SAMPLES = 500  # for FID and what neighbours show: with fewer they show n rather than quality


@dataclass(frozen=True)
class Quality:
    """How close n samples are to the test split; None where n is under 500 (precision ... clipped coverage: k = 5)."""

    n: int
    fid: float | None
    kid: float
    kid_std: float
    precision: float | None
    recall: float | None
    clipped_density: float | None
    coverage: float | None
    clipped_coverage: float | None


@dataclass(frozen=True)
class Floor:
    """The quality of n real training images, over several draws: what a perfect model would reach."""

    n: int
    draws: int
    mean: dict[str, float | None]
    std: dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Verdict(Quality):
    """The judge's verdict on samples of known classes; a `diversity` of 1 is that of real images."""

    accuracy: float
    diversity: float | None  # None where no class has two samples, or the real images of every class are alike
    recognised: str  # a character per sample: x where it is recognised as the class asked for, else a dot
    confusion: Tensor  # (K, K): row = the label asked for, column = the class recognised
    predictions: Tensor  # (n,): the class recognised in every sample

    @property
    def accuracy_by_class(self) -> list[float | None]:
        """The share of recognised samples for every class; None where it has no sample."""
        right, asked = self.confusion.diagonal().tolist(), self.confusion.sum(1).tolist()
        return [r / n if n else None for r, n in zip(right, asked, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON or a row of a table; no tensors."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, Tensor)}


@dataclass(frozen=True, eq=False)
class Reference:
    """The real images that samples are compared with, and the judge's view of them."""

    judge: Judge
    train: Dataset
    test: Dataset
    seed: int

    def __post_init__(self) -> None:
        known, names = self.judge.net.arguments["num_classes"], self.test.class_names
        if known != len(names):
            raise ValueError(f"judge: knows {known} classes, the data have {len(names)} (run stage judge again)")

    def classes(self, number: int) -> Tensor:
        """Labels (number,) for as many samples, by the shares of the classes among the training images."""
        return classes_by_share(number, self.train.labels.bincount(minlength=self.train.num_classes))

    @cached_property
    def test_features(self) -> Tensor:
        """Features of the test images (N, D)."""
        return self.judge.see(self.test.images).features

    @cached_property
    def _test_sharpness(self) -> float:
        return metrics.sharpness(to_float(self.test.images))

    def sharpness(self, images: Tensor) -> float | None:
        """Sharpness of uint8 samples relative to that of the test images; None where these are flat."""
        return metrics.sharpness(to_float(images)) / self._test_sharpness if self._test_sharpness else None

    @cached_property
    def diversity(self) -> float:
        """Mean feature distance of two real test images of a class."""
        return metrics.within_class_diversity(self.test_features, self.test.labels)

    @cached_property
    def varies(self) -> bool:
        """Whether real images of a class differ in their features by more than rounding."""
        return self.diversity > ROUNDING * self.test_features.norm(dim=1).mean().item()

    def quality(self, features: Tensor) -> Quality:
        """The quality of samples with these features (N, D)."""
        generator = generator_for(self.seed, "evaluation/kid")
        kid, kid_std = metrics.kernel_distance(features, self.test_features, generator)
        enough = len(features) >= MIN_SAMPLES
        fid = metrics.frechet_distance(features, self.test_features) if enough else None
        prdc = metrics.precision_recall_density_coverage(self.test_features, features) if enough else [None] * 5
        return Quality(len(features), fid, kid, kid_std, *prdc)

    def coverage_within_classes(self, features: Tensor, labels: Tensor) -> float | None:
        """The coverage of a class's test images by its samples (features (N, D), labels (N,)), averaged over the
        classes that have enough of both; None where n is under 500."""
        pairs = [(self.test_features[self.test.labels == k], features[labels == k]) for k in labels.unique()]
        enough = [pair for pair in pairs if min(map(len, pair)) > metrics.NEIGHBOURS]
        if len(features) < MIN_SAMPLES or not enough:
            return None
        return mean(metrics.precision_recall_density_coverage(*pair).coverage for pair in enough)

    def recall_of(self, features: Tensor, rows: Tensor) -> float | None:
        """The recall of the test images in `rows` (R,) by samples with these features (N, D); None where n is under 500
        or the test images are 5 or fewer."""
        enough = len(features) >= MIN_SAMPLES and len(rows) > metrics.NEIGHBOURS
        measured = metrics.precision_recall_density_coverage
        return measured(self.test_features[rows], features).recall if enough else None

    def floor(self, num_samples: int, draws: int = 5) -> Floor:
        """Quality of `num_samples` random training images, or all if there are fewer: mean and spread of draws."""
        number = min(num_samples, len(self.train.images))
        real = (self.training_draw(number, draw).images for draw in range(draws))
        rows = [asdict(self.quality(self.judge.see(images).features)) for images in real]
        table = {name: [row[name] for row in rows] for name in rows[0] if name not in ("n", "kid_std")}
        return Floor(
            number,
            draws,
            mean={name: None if None in values else mean(values) for name, values in table.items()},
            std={name: None if None in values or draws < 2 else stdev(values) for name, values in table.items()},
        )

    def training_draw(self, number: int, draw: int) -> Dataset:
        """`number` random training images: the draw with the index `draw`."""
        order = torch.randperm(len(self.train.images), generator=generator_for(self.seed, "evaluation/floor", draw))
        return self.train.take(order[:number])

    def memorisation(self, images: Tensor) -> metrics.Memorisation:
        """Distances in pixels of uint8 samples to the training images, compared with those of the test images."""
        return metrics.memorisation(images, self.train.images, self.test.images, to_float=to_float)


def verdict(reference: Reference, images: Tensor, labels: Tensor) -> Verdict:
    """Judge at least 4 samples, uint8 or float in [-1, 1] (N, C, H, W), of the classes asked for (N,).

    Raises ValueError for samples that are not finite, too few, or of another shape than the real images.
    """
    seen = reference.judge.see(images)
    labels, predictions = labels.cpu(), seen.logits.argmax(1)
    defined = labels.bincount().max() > 1 and reference.varies
    return Verdict(
        **asdict(reference.quality(seen.features)),
        accuracy=accuracy(predictions, labels),
        diversity=metrics.within_class_diversity(seen.features, labels) / reference.diversity if defined else None,
        recognised="".join(".x"[right] for right in (predictions == labels).tolist()),
        confusion=confusion_matrix(predictions, labels, seen.logits.shape[1]),
        predictions=predictions,
    )
