"""The external evaluator of recipes: a judge of MNIST's 60,000 training digits, and its 10,000 test digits."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from diffusion.data import Dataset
from diffusion.quality.classification import accuracy
from diffusion.quality.judge import JUDGE as CLEAN
from diffusion.quality.judge import Judge
from diffusion.quality.metrics import frechet_distance, precision_recall_density_coverage
from diffusion.randomness import generator_for
from diffusion.sources.splits import load_splits
from stages.judge import training_of
from stages.params.params import Params
from stages.shared.machine import machine_of
from stages.shared.progress import run_training

JUDGE = Path("models/ruler.safetensors")
JUDGE_STEPS = 1500
NEIGHBOURS = 1000  # test digits for precision ... coverage, which need about as many as there are samples
FLOOR_DRAWS = 5


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Class accuracy; FID against all test digits; precision ... coverage (k = 5) against a stratified 1,000."""

    judge: Judge
    test_features: Tensor  # (10000, 128)
    neighbours: Tensor  # (1000, 128)

    def measure(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """The figures of samples (N, C, H, W), uint8 or float in [-1, 1], for their intended classes (N,)."""
        seen = self.judge.see(images)
        return {
            "accuracy": accuracy(seen.logits.argmax(1), labels),
            "fid": frechet_distance(seen.features, self.test_features),
            **precision_recall_density_coverage(self.neighbours, seen.features)._asdict(),
        }

    def floor(self, images: Tensor, labels: Tensor, number: int) -> dict[str, float]:
        """The figures of `number` real images, the mean of five draws: what a perfect model would reach."""
        orders = (
            torch.randperm(len(images), generator=generator_for(0, "ruler/floor", draw)) for draw in range(FLOOR_DRAWS)
        )
        rows = [self.measure(images[order[:number]], labels[order[:number]]) for order in orders]
        return {name: mean(row[name] for row in rows) for name in rows[0]}


def training_data(params: Params, root: Path) -> Dataset:
    """The training split of params.yaml, as stage `prepare` makes it; MNIST and its relatives are in `root`."""
    data = params.data
    generator = generator_for(params.seed, "split")
    return load_splits(data.dataset, root, generator, data.image_size, data.channels, data.train_limit).train


def load_evaluator(root: Path, params: Params) -> Evaluator:
    """The external evaluator, whose judge is trained on first use.

    `root` is as `data.root`: MNIST is downloaded there if it is missing.
    """
    splits, few = (
        load_splits("mnist", root, generator_for(params.seed, "split"), test_limit=limit) for limit in (0, NEIGHBOURS)
    )
    if not JUDGE.exists():
        settings = params.judge.model_copy(update={"steps": JUDGE_STEPS})
        machine = machine_of(params)
        params = params.model_copy(update={"judge": settings})
        update, learners = training_of(params, splits.train, *machine, CLEAN)
        run_training("judge", update, learners, settings.steps, settings.batch_size, settings.log_every)
        Judge(learners["judge"].net, machine.device).save(JUDGE)
    judge = Judge.load(JUDGE, torch.device("cpu"))
    return Evaluator(judge, *(judge.see(images).features for images in (splits.test.images, few.test.images)))
