"""Memory stays bounded: metrics go in blocks, images are held twice at most; and the benchmark of it at toy size."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from fuzz import image_of, write_idx_folder
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import load
from benchmarks.load import figures_of, loads, measure
from diffusion.data import Dataset, load_split, to_float
from diffusion.nets.classifier import Classifier
from diffusion.quality import metrics
from diffusion.quality.evaluation import Reference, verdict
from diffusion.quality.judge import Judge
from diffusion.randomness import generator_for
from diffusion.sources.splits import load_splits
from stages.params.params import AllParams

ROOT = Path(__file__).resolve().parents[1]
MEBI = 2**20
N = 2_500  # more than fits into a block, squared
FEATURES = torch.randn(N, 16, generator=torch.Generator().manual_seed(0))
PIXELS = torch.randint(0, 256, (N, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(N) % 2


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that anything makes inside."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        sizes = [leaf.nbytes for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return made


def whole_verdict():
    data = Dataset(PIXELS, LABELS, ("even", "odd"))
    reference = Reference(Judge(Classifier(8, 1, 2, width=4), torch.device("cpu")), data, data, 0)
    verdict(reference, PIXELS, LABELS)
    reference.memorisation(PIXELS)


BOUNDED = {
    "fid": lambda: metrics.frechet_distance(FEATURES, FEATURES),
    "kid": lambda: metrics.kernel_distance(FEATURES, FEATURES, torch.Generator(), num_halves=4),
    "prdc": lambda: metrics.precision_recall_density_coverage(FEATURES, FEATURES),
    "diversity": lambda: metrics.within_class_diversity(FEATURES, torch.zeros(N, dtype=torch.long)),
    "neighbours": lambda: metrics.nearest_neighbours(FEATURES, FEATURES),
    "memorisation": lambda: metrics.memorisation(PIXELS, PIXELS, PIXELS, to_float=to_float),
    "sharpness": lambda: metrics.sharpness(to_float(PIXELS)),
    "verdict": whole_verdict,
}


@pytest.mark.parametrize("name", BOUNDED)
def test_no_metric_makes_all_distances_at_once(name):
    with Largest() as largest:
        BOUNDED[name]()
    assert 0 < largest.bytes <= 8 * metrics.MAX_ELEMENTS < 8 * N**2


def test_the_largest_tensor_is_seen():
    with Largest() as largest:
        torch.cdist(FEATURES, FEATURES)
    assert largest.bytes == 4 * N**2


def test_images_are_turned_into_floats_a_block_at_a_time():
    with Largest() as largest:
        metrics.nearest_neighbours(PIXELS, PIXELS, block=100, to_float=to_float)
    assert largest.bytes <= PIXELS.nbytes  # as floats they are four times as many


def test_a_block_of_large_images_has_fewer_of_them():
    images = torch.zeros(1024, 3, 64, 64, dtype=torch.uint8)
    with Largest() as largest:
        metrics.nearest_neighbours(images, images[:600], to_float=to_float)
    assert largest.bytes <= 8 * metrics.MAX_ELEMENTS


@pytest.fixture
def params():
    preset = (ROOT / load.PRESET).read_text().replace("-S ", "").split()
    return AllParams.load(ROOT).changed(preset + load.SMALL)


def write_small():
    load.write_folder(300)
    os.mkdir(load.DATA)


def read_large():
    load_splits("folder", Path("images"), generator_for(0, "split"), image_size=256, channels=3)


def test_a_folder_is_held_in_memory_twice_at_most():
    """In a process of its own: in this one, what other tests left would be used again."""
    size = 300 * 3 * 256**2
    assert size < measure(load.Load("load_splits", 300, write_small, read_large)).peak < 2 * size + 16 * MEBI


def test_the_files_of_a_folder_are_watched(tmp_path):
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(image_of("PNG", "L"))
    seen = []

    def watched(files):
        for file in files:
            seen.append(file)
            yield file

    load_splits("folder", tmp_path, generator_for(0, "split"), 8, watch=watched)
    assert seen == sorted(tmp_path.rglob("*.png"))


@pytest.fixture
def few(tmp_path, params):
    """Everything that is measured, at toy size."""
    write_idx_folder(tmp_path / "mnist")
    return loads(params, tmp_path / "mnist", images=100, samples=20, classes=2)


@pytest.mark.parametrize("k", range(4))
def test_the_benchmark_runs_every_stage(few, tmp_path, monkeypatch, capfd, k):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    few[k].set_up()
    found = figures_of(few[k].stage)
    shape = (1, 5, 4) if few[k].what == "prepare, mnist" else (1, load.SIZE, load.SIZE)
    splits = [load_split(load.DATA / f"{name}.safetensors") for name in ("train", "test")]
    assert {split.images.shape[1:] for split in splits} == {shape}
    assert found.images == sum(split.images.numel() for split in splits) and found.seconds > 0
    assert list(load.RESULTS.iterdir())
    assert ("images: 100%" in capfd.readouterr().err) == (few[k].what == "prepare, folder")  # the progress bar


def test_a_measurement_has_a_process_of_its_own(tmp_path):
    found = measure(load.Load("a stage", 1, partial(os.mkdir, "data"), partial(bytearray, 200 * MEBI)))
    assert found.images == 0 and 190 * MEBI < found.peak < 220 * MEBI


def test_the_benchmark_of_large_data_runs_at_toy_size(params, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(load, "LARGE_SIZE", 8)
    monkeypatch.setattr(load, "LINKED", 40)
    monkeypatch.setattr(load, "LARGE", [*load.LARGE, "train.steps=2", "data.test_limit=20"])
    monkeypatch.setattr(load.train, "load_split", load.train.load_split)  # which one of them replaces
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for one in load.large_loads(params, 100):
        one.set_up()
        assert figures_of(one.stage).images == (80 + 20) * 3 * 8 * 8, one.what
    assert len({path.stat().st_ino for path in Path("images").rglob("*.png")}) == 40
    assert "training mapped: " in (printed := capfd.readouterr().out) and "training in memory: " in printed
