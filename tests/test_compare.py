"""Stage `compare` and the study of stability, with models of which everything is known."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch

from diffusion.baselines.vae import VaeModel
from diffusion.baselines.vae_net import Vae
from diffusion.data import Dataset, to_float
from diffusion.generation import ImageModel
from diffusion.lanes import one_thread
from diffusion.nets.classifier import Classifier
from diffusion.quality.evaluation import Reference
from diffusion.quality.judge import Judge
from diffusion.training.optimiser import Optimiser
from stages import compare
from stages.compare import Entry, clock, modes, write_density, write_quality
from stages.params.params import BaselineParams
from stages.shared.machine import Machine
from studies import stability

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
NAMES = tuple("abc")
SETTINGS = BaselineParams.load(ROOT).compare.model_copy(update={"num_samples": 24, "classifier_steps": 40})


def some_data(number=30):
    """Images that are bright where their class says so."""
    draw = torch.Generator().manual_seed(number)
    labels = torch.arange(number) % 3
    images = torch.randint(0, 60, (number, 1, 8, 8), generator=draw, dtype=torch.uint8)
    for k in range(3):
        images[labels == k, :, 2 * k : 2 * k + 2] += 180
    return Dataset(images, labels, NAMES)


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(0)
    net, data = Classifier(8, 1, 3, width=8), some_data()
    optimiser = Optimiser(net.parameters(), 3e-3, 40)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(net(to_float(data.images)), data.labels)
        optimiser.descend(loss, optimiser.gradient(loss))
    return Reference(Judge(net, CPU), data, some_data(21), seed=0)


def copier(name="gan", evaluations=1, null=None, classes=(0, 1, 2)):
    """Copies training images of the classes asked for, but of these classes only; class 3 means any."""
    data = some_data()

    def sample(labels, normals):
        return to_float(data.images[torch.tensor(classes)[labels % len(classes)]])

    return Entry(name, evaluations, ImageModel((1,), CPU, sample), null)


def spying(one, noted):
    """The same, noting the labels of every batch."""

    def sample(labels, normals):
        noted(labels)
        return one.model.sample(labels, normals)

    return one._replace(model=ImageModel((1,), CPU, sample))


def test_a_model_is_asked_for_classes_at_random_or_for_none(reference, tmp_path):
    asked = {"diffusion": [], "gan": []}
    models = [spying(copier(name, null=null), asked[name].extend) for name, null in (("diffusion", 3), ("gan", None))]
    with one_thread():  # lanes would ask in any order
        write_quality(tmp_path, reference, reference, models, SETTINGS, 10)
    assert all(torch.equal(torch.stack(labels[:24]), torch.arange(24) % 3) for labels in asked.values())
    assert torch.stack(asked["diffusion"][24:]).tolist() == [3] * 24
    drawn = torch.stack(asked["gan"][24:])
    assert len(drawn.bincount(minlength=3)) == 3 and not torch.equal(drawn, torch.arange(24) % 3)
    rows = pd.read_csv(tmp_path / "quality.csv")
    assert rows["model"].tolist() == ["diffusion", "gan"] and (rows["accuracy"] == 1).all() and (rows["n"] == 24).all()
    assert (rows["classes"] == [1, 3]).all() and rows["effective_classes"].iloc[0] == 1
    assert (tmp_path / "samples.png").exists()
    second = pd.read_csv(tmp_path / "second.csv")  # here the same judge
    assert second["kid"].tolist() == rows["kid"].tolist() and (second["accuracy"] == 1).all()


def test_the_classifier_score_is_that_of_what_the_samples_know(reference):
    """Samples of the classes that they are labelled with teach them; samples of the next class teach a mistake."""
    labels = torch.arange(60) % 3
    made = copier().model.images(labels, 0, "", 60)
    scores = [
        compare.score_of(reference, Dataset(made, asked, NAMES), SETTINGS, 0) for asked in (labels, (labels + 1) % 3)
    ]
    assert scores == [1, 0]
    real = compare.real_scores(reference, SETTINGS)
    assert real["n"] == 24 and real["mean"] == 1 and real["std"] == 0


def test_modes_that_are_missing_are_counted(reference):
    labels = torch.arange(24) % 3
    whole, half = (copier(classes=c).model.images(labels, 0, "", 24) for c in ((0, 1, 2), (0, 1)))
    assert modes(reference, whole, labels, whole)["classes"] == 3
    assert modes(reference, whole, labels, whole)["effective_classes"] == pytest.approx(3)
    assert modes(reference, whole, labels, half)["classes"] == 2


def test_the_clock_tries_batches_with_few_calls_and_keeps_the_best(monkeypatch):
    """A clock that says 1 second per call, and half of it for images in batches of 4."""
    images = Counter()

    @contextmanager
    def fake(device):
        elapsed = []
        yield elapsed
        elapsed.append(last["calls"] * (last["size"] if last["size"] != 4 else 1))

    last = {}

    def timed(name, calls):
        def noted(labels):
            last.update(calls=calls, size=len(labels))
            images[name, calls, len(labels)] += 1

        return spying(copier(name, calls), noted)

    monkeypatch.setattr(compare, "stopwatch", fake)
    models = [timed("diffusion", 100), timed("diffusion", 2), timed("gan", 1)]
    rows = pd.DataFrame(clock(models, [2, 4], 3, 3, seed=0), columns=compare.CLOCK)
    assert rows[["model", "calls", "batch"]].values.tolist() == [
        *(["gan", 1, size] for size in (1, 2, 4)),
        *(["diffusion", 2, size] for size in (1, 2, 4)),
        *(["diffusion", 100, size] for size in (1, 4)),
    ]
    assert rows["images_per_second"].tolist() == [1, 1, 4, 0.5, 0.5, 2, 0.01, 0.04]
    assert rows["repeats"].tolist() == [3] * 6 + [1] * 2  # a hundred seconds are enough
    assert images["gan", 1, 4] == 4 and images["diffusion", 100, 4] == 1  # the warm-up counts as a run, where needed


def test_bits_are_those_of_the_bounds(reference, tmp_path):
    torch.manual_seed(0)
    vae = VaeModel(Vae(8, 1, 3, 4, 2, 1, [8], 1).eval(), "bf16")
    write_density(tmp_path, reference.test, vae, 5, seed=0, batch_size=8)
    rows = pd.read_csv(tmp_path / "density.csv").set_index("bound")["bits"]
    assert 2 < rows["importance-weighted, 5 samples"] < rows["ELBO"] < 20 and 0 <= rows["KL, a part of the ELBO"] < 1
    assert (tmp_path / "reconstructions.png").exists()


SMALL = ["train.steps=3", "gan.steps=3", "vae.steps=3", *(f"{s}.channels=[8,16]" for s in ("model", "gan", "vae"))]
SMALL += [*(f"{s}.patch=1" for s in ("model", "gan", "vae")), *(f"{s}.batch_size=8" for s in ("train", "gan", "vae"))]
SMALL += ["data.dataset=digits", "compare.num_samples=12", "compare.ddim_steps=[2]", "timesteps=30", "schedule=cosine"]
SMALL += ["sampling.ddim_steps=[5]", "sampling.eta_steps=[5]", "sampling.solver_steps=[5]", "sampling.num_steps=5"]
SMALL += ["guidance.num_steps=5", "recommended.num_steps=5"]


def test_every_run_of_the_study_has_a_row_and_a_diverged_one_says_when(reference, monkeypatch):
    monkeypatch.setattr(stability, "FACTORS", (1, 1e20))
    monkeypatch.setattr(stability, "SEEDS", (0, 1))
    params = BaselineParams.load(ROOT).changed([*SMALL, "train.log_every=1", "gan.log_every=1", "vae.log_every=1"])
    table = pd.DataFrame(
        stability.rows(params, reference.train, reference, Machine(CPU, "fp32")), columns=stability.COLUMNS
    )
    assert len(table) == 12 and table.groupby("model").size().tolist() == [4, 4, 4]
    usual, absurd = (table[table["factor"] == factor] for factor in (1, 1e20))
    assert usual["diverged_at"].isna().all() and usual["accuracy"].between(0, 1).all()
    assert absurd["diverged_at"].notna().any() and absurd[absurd["diverged_at"].notna()]["accuracy"].isna().all()
