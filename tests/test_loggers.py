"""Loss curves in other tools: the rows of history.csv, whole after an interruption too, and no result changed."""

import csv
import sys
from types import SimpleNamespace

import pytest
from param_files import smoke_params, write_params
from test_failures import write_split

from stages import train
from stages.params.params import Params
from stages.shared import loggers


@pytest.fixture
def results(tmp_path, monkeypatch):
    """What trains with a logger and returns the results' folder, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_split(tmp_path / "data/train.safetensors")

    def trained(logger):
        write_params(tmp_path, smoke_params() | {"logger": logger})
        results = tmp_path / f"results of {logger}"
        model, early = results / "model.safetensors", results / "early.safetensors"
        train.main(Params.load(tmp_path), data=tmp_path / "data", model=model, early=early, results=results)
        return results

    return trained


def curve(results):
    """(step, loss) of every row of the history."""
    with open(results / "history.csv", newline="") as file:
        return [(int(row["step"]), pytest.approx(float(row["loss"]), rel=1e-4)) for row in csv.DictReader(file)]


def test_tensorboard_has_the_curve_of_the_history_and_changes_nothing(results, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    without, logged = results("none"), results("tensorboard")
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("denoiser-")
    events = EventAccumulator(str(run)).Reload()
    assert {"loss", "grad_norm", "learning_rate"} <= {*events.Tags()["scalars"]}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == curve(logged)
    for name in ("model.safetensors", "history.csv"):
        assert (without / name).read_bytes() == (logged / name).read_bytes()


def test_trackio_has_the_curve_of_the_history(results, monkeypatch):
    """A stand-in records what it is told."""
    calls = []
    stand_in = SimpleNamespace(
        init=lambda **options: calls.append(options),
        log=lambda metrics, step: calls.append((step, metrics["loss"])),
        finish=lambda: calls.append("finished"),
    )
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    monkeypatch.setattr(loggers, "find_spec", lambda name: name)
    expected = curve(results("trackio"))
    started, *rows, finished = calls
    assert started["project"] == "diffusion" and started["name"].startswith("denoiser-")
    assert rows == expected and finished == "finished"


@pytest.mark.parametrize("logger", ["tensorboard", "trackio"])
def test_a_missing_package_is_told_in_a_line_before_any_work(results, monkeypatch, logger, tmp_path):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"^logger: '{logger}' is not installed \(pip install {logger}; allowed"):
        results(logger)
    assert not list(tmp_path.glob("results*/*"))
