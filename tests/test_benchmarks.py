"""Long measurements: their results are of the code in git, and the race with other libraries is fair."""

import json
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import gpu, libraries, peers
from diffusion.data import Dataset
from diffusion.denoiser import Denoiser, record_evaluations
from diffusion.samplers.table import SamplerSetting
from report.studies import other_params
from stages.params.params import AllParams, Params
from studies.frontier import SAMPLING_SEEDS, known_rows, settings

ROOT = Path(__file__).resolve().parents[1]
DATA = Dataset(torch.zeros(40, 1, 28, 28, dtype=torch.uint8), torch.arange(40) % 10, tuple("0123456789"))


class Constant(libraries.Peer):
    """Learns the mean of the pixels, -1, in one weight."""

    library = "constant"
    batch_size, learning_rate, ema_decay = 4, 0.1, 0.9

    def __init__(self, form):
        self.form, self.net = form, torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.net.weight)
        self.seen = []

    def loss(self, x_0, label):
        self.seen.extend(label.tolist())
        return (self.net(x_0.new_ones(1)) - x_0.mean()).square().mean()

    def sample(self, net, label):
        return net.weight.expand(len(label), 1, 28, 28)

    def evaluate(self, net, x, label):
        return net(x)


@pytest.mark.parametrize("form", libraries.FORMS)
def test_training_stops_when_its_seconds_are_over_and_gives_the_average(monkeypatch, form):
    monkeypatch.setattr(peers.time, "monotonic", count().__next__)  # a second passes whenever one looks
    peer = Constant(form)
    net, steps = peers.train_peer(peer, DATA, seed=0, seconds=100.0, precision="fp32")
    assert 30 <= steps <= 50
    assert -1.1 < peer.net.weight.item() < net.weight.item() < 0
    assert not net.training and sorted(peer.seen[:40]) == sorted(DATA.labels.tolist())


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of all steps that AdamW takes, a second passing whenever one looks at the clock."""
    monkeypatch.setattr(peers.time, "monotonic", count().__next__)
    noted, step = [], torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: (noted.append(self.param_groups[0]["lr"]), step(self))[1]
    )
    return noted


def test_our_own_training_stops_and_slows_down_by_the_same_clock(rates, monkeypatch):
    changes = ["model.channels=[8,8]", "model.attention_heads=2", "train.batch_size=4", "train.warmup_steps=5"]
    params = Params.load(ROOT).changed(changes)
    calls = []
    monkeypatch.setattr(peers, "common_columns", lambda *arguments: calls.append(arguments) or {})
    made = []
    monkeypatch.setattr(peers, "Denoiser", lambda *arguments: made.append(Denoiser(*arguments)) or made[-1])
    rows = peers.measure_ours(params, DATA, None, 100.0)
    assert [row["form"] for row in rows] == ["", "recommended"]
    (_, plain, *_, steps, seconds), (_, guided, *_) = calls
    last, early = made
    first = peers.training_of(params, DATA, torch.device("cpu"), "fp32")[1]["denoiser"].net
    for other in (first, last.net):
        pairs = zip(other.parameters(), early.net.parameters(), strict=True)
        assert not all(torch.equal(*pair) for pair in pairs)
    with torch.inference_mode(), record_evaluations(early) as of_early:
        assert plain(DATA.labels[:2]).shape == (2, 1, 28, 28) and not of_early
        assert guided(DATA.labels[:2]).shape == (2, 1, 28, 28)
        assert 0 < len(of_early) < params.recommended.num_steps  # in the interval alone
    assert len(rates) == steps and 100 <= seconds <= 103
    assert rates[0] < rates[4] and rates[4] > 0.9 * params.train.learning_rate and rates[-1] < 1e-5


def test_a_tuned_rate_rises_at_first_and_ends_at_zero(rates, monkeypatch):
    monkeypatch.setattr(peers, "WARMUP_STEPS", 5)
    peers.train_peer(Constant("tuned"), DATA, seed=0, seconds=100.0, precision="fp32")
    assert rates[0] < rates[4] and rates[4] > 0.09 and rates[-1] < 0.001


def test_the_table_is_sorted_and_leaves_out_what_was_not_measured():
    row = dict.fromkeys(peers.COLUMNS, "") | {"fid": 3, "accuracy": 0.5, "coverage": 0.25}
    first = row | {"library": "a", "version": "1", "form": "tuned", "overhead": 1.02, "fid": 50}
    lines = peers.table([row | {"library": peers.OURS}, first]).splitlines()
    assert lines[2].startswith("| a 1 (tuned) |") and lines[2].endswith("| 50.0 | 50.0% | 0.25 | 1.02 |")
    assert lines[3].startswith("| this project |") and lines[3].endswith("| 3.0 | 50.0% | 0.25 |  |")


def test_the_readme_shows_the_committed_table():
    table = peers.table(peers.read_rows(ROOT / "reports/peers/peers.csv"))
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_frontier_keeps_the_rows_of_the_same_model_alone():
    report = ROOT / "reports/frontier"
    about = {name: json.loads((report / "about.json").read_text())[name] for name in ("model_md5", "params")}
    known = known_rows(report, about)
    assert all((setting, seed) in known for setting in settings(1000) for seed in range(SAMPLING_SEEDS))
    assert known[SamplerSetting("ddim", 5, 0.0), 2][4:6] == ["5", "2"]
    assert known_rows(report, about | {"model_md5": "0" * 32}) == known_rows(ROOT, about) == {}


def test_the_committed_frontier_and_students_are_of_one_model_and_the_page_says_where_it_is_another():
    about, distilled = (
        json.loads((ROOT / "reports/frontier" / f"{name}.json").read_text()) for name in ("about", "distilled")
    )
    assert (about["model_md5"], about["params"]) == (distilled["model_md5"], distilled["params"])
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]["train"]["outs"]
    (warning,) = other_params(about["params"], Params.load(ROOT).model_dump()) or [None]
    assert about["model_md5"] in {out["md5"] for out in lock} or warning
    assert warning is None or warning.text in (ROOT / "reports/README.md").read_text(encoding="utf-8")


def test_without_a_gpu_make_gpu_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^error: gpu: PyTorch finds no GPU on this machine .*$"):
        gpu.main()


def test_the_preset_that_make_gpu_trains_by_is_measured_as_here_on_a_cpu(monkeypatch):
    for name, result in (("reset_peak_memory_stats", None), ("max_memory_allocated", 3 * 2**20)):
        monkeypatch.setattr(torch.cuda, name, lambda _, result=result: result)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(gpu, "utilisation", lambda _: nullcontext([50.0, 100.0]))
    for name, fewer in (("WARM_UP", 1), ("QUEUED", 1), ("SAMPLING_STEPS", 2), ("COMPARED", 4)):
        monkeypatch.setattr(gpu, name, fewer)
    smaller = ["model.channels=[8,16]", "train.batch_size=4", "sampling.batch_size=4", "precision=fp32"]
    preset = (ROOT / "presets/gpu.args").read_text().replace("-S ", "").split()
    params = AllParams.load(ROOT).changed([*preset, *smaller])
    monkeypatch.setattr(gpu.time, "monotonic", count().__next__)  # a second passes whenever one looks
    row, denoiser = gpu.measured(params, DATA, torch.device("cpu"), 3.0)
    assert (row.precision, row.compiled, row.utilisation, row.memory) == ("fp32", False, 75.0, 3)
    assert row.training > 0 and row.sampling > 0 and not denoiser.net.training
    assert gpu.difference_from_cpu(denoiser, DATA.shape) == 0
