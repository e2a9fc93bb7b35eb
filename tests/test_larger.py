"""The benchmark of larger images at toy size: its rows, and pictures that come back from being scaled up."""

from pathlib import Path

import pytest
import torch

from diffusion.data import Dataset
from diffusion.nets.classifier import Classifier
from diffusion.quality.evaluation import Reference
from diffusion.quality.judge import Judge
from stages.params.params import LatentParams
from studies import larger

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "data.dataset=digits",
    "model.patch=1",
    "model.channels=[8,8]",
    "latent.channels=[8]",
    "latent.attention_heads=2",
]
SMALL += ["autoencoder.channels=[8]", "autoencoder.steps=2", "autoencoder.batch_size=8", "sampling.num_steps=2"]


def test_images_that_are_scaled_up_come_back():
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(larger.scale(images, 1), images)
    assert larger.scale(images, 2).shape == (3, 1, 16, 16)
    flat = torch.full((1, 1, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(larger.scale(larger.scale(flat, 2), 0.5), flat)


def test_both_sizes_and_spaces_are_measured_for_the_same_images_and_the_same_seconds(monkeypatch):
    monkeypatch.setattr(larger, "IMAGES_SEEN", 64)
    monkeypatch.setattr(larger, "NUM_SAMPLES", 20)
    params = LatentParams.load(ROOT).changed(SMALL)
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 8, 8), generator=draw, dtype=torch.uint8)
    data = Dataset(images, torch.arange(40) % 4, tuple("0123"))
    reference = Reference(Judge(Classifier(8, 1, 4), torch.device("cpu")), data, data, 0)
    rows = list(larger.rows(params, reference, torch.device("cpu"), "fp32"))
    table = [dict(zip(larger.COLUMNS, row, strict=True)) for row in rows]
    assert [(row["size"], row["space"]) for row in table] == [
        (s, p) for s in (8, 16) for p in ("latent", "pixel", "pixel")
    ]
    assert [row["seen"] for row in table if row["space"] == "latent"] == [64, 64]
    assert table[1]["seen"] == 64 and table[0]["autoencoder_seconds"] > 0 and table[1]["autoencoder_seconds"] == 0
    seconds = table[0]["seconds"] + table[0]["autoencoder_seconds"]
    assert table[2]["seen"] == pytest.approx(seconds * table[1]["images_per_second"], abs=32)
