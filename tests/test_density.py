"""The study of density at toy size: it learns where pixels are sure, and its files have what the report shows."""

import json
from pathlib import Path

import pandas as pd
import torch

from diffusion.data import Dataset
from stages.params.params import ScoreParams
from studies import density

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["data.dataset=digits", "model.channels=[8,8]", "model.attention_heads=2", "train.steps=60"]
SMALL += ["train.batch_size=16", "train.warmup_steps=5", "train.log_every=20", "train.ema_decay=0.9"]
SMALL += ["score.likelihood_images=40", "score.log_snr_bins=8", "score.ode_images=4", "score.ode_tolerance=0.03"]


def test_the_study_measures_what_it_trained(tmp_path, monkeypatch):
    """Images of two kinds, whose halves are black and white or the other way round: one bit in all of them.

    Independent pixels would cost a bit each.
    """
    params = ScoreParams.load(ROOT).changed([*density.CHANGES, *SMALL])
    draw = torch.Generator().manual_seed(0)
    upper = torch.randint(0, 2, (200, 1, 1, 1), generator=draw).bool()
    mask = (torch.arange(8) < 4).view(1, 1, 8, 1).expand(200, 1, 8, 8)
    images = torch.where(mask == upper, 0, 255).to(torch.uint8)
    data = Dataset(images, torch.zeros(200, dtype=torch.long), ("0", "1"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # where an interrupted training would wait
    density.study(params, data, data, tmp_path)
    rows = pd.read_csv(tmp_path / "density.csv", index_col="method")
    assert rows.index.tolist() == ["bound", "bound of the ODE's images", "ODE"] and rows["n"].tolist() == [40, 4, 4]
    assert rows.loc["bound", "bits"] < 0.6 and rows.loc["bound", "reconstruction"] < 0.05
    assert len(pd.read_csv(tmp_path / "terms.csv")) == 8
    assert pd.read_csv(tmp_path / "history.csv")["step"].tolist() == [20, 40, 60]
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["images"] == 200 and about["steps"] == 60 and about["cpu_seconds"] > 0
    assert json.loads((tmp_path / "timing.json").read_text())["parameters"] > 0


def test_seconds_of_the_processor_go_on_after_an_interruption():
    clock = density.CpuClock()
    clock.load_state_dict({"seconds": 1000.0})
    assert 1000 <= clock.state_dict()["seconds"] < 1010
