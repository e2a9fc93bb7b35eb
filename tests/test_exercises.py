"""The study of the lesson's exercises: real DVC experiments of a pipeline that takes no time."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pipeline import ROOT, Repository

from stages.params.params import Params
from studies import exercises

PIPELINE = """stages:
  evaluate:
    cmd: python toy.py
    params: [seed, schedule, timesteps]
    outs: [results/train, results/evaluate]
  report:
    cmd: exit 1
"""
TOY = """
import json, sys
from pathlib import Path
import numpy as np, yaml
from PIL import Image

params = yaml.safe_load(Path("params.yaml").read_text())
if params["seed"] == 13:
    sys.exit("error: it brings bad luck")
Path("results/train").mkdir(parents=True), Path("results/evaluate").mkdir()
Path("results/train/history.csv").write_text(f"step,loss,grad_norm\\n1,{params['timesteps']},0\\n2,0.5,0\\n")
Path("results/evaluate/metrics.json").write_text(json.dumps({"n": 40, "calls": 50, "fid": params["timesteps"]}))
rows = [("ddpm", 1000, ""), ("ddim", 10, 0.0), ("ddim", 40, 0.0), ("ddim", 50, 1.0), ("unipc", 50, "")]
table = [f"{name},{steps},{eta},{subset}" for subset in ("all", "first") for name, steps, eta in rows]
Path("results/evaluate/samplers.csv").write_text("\\n".join(["sampler,steps,eta,subset", *table]) + "\\n")
sheet = np.full((len(rows) * 10 - 2, 16 * 10 - 2), 128, np.uint8)
for row in range(len(rows)):
    for column in range(16):
        sheet[row * 10 : row * 10 + 8, column * 10 : column * 10 + 8] = 16 * row + column
Image.fromarray(sheet).save("results/evaluate/samplers.png")
"""
RUNS = {"exercises-a": ("schedule=linear", "timesteps=1000"), "exercises-b": ("schedule=cosine", "timesteps=200")}


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    """The toy pipeline in the current folder, and a study of two runs."""
    path = tmp_path / "repository"
    path.mkdir()
    (path / "dvc.yaml").write_text(PIPELINE)
    (path / "toy.py").write_text(TOY)
    shutil.copy(ROOT / "params.yaml", path)
    repository = Repository(path)
    repository.git("init", "--quiet")
    repository.as_committer().dvc("init", "--quiet")
    repository.commit("A pipeline that takes no time")
    for name, value in repository.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(path)
    monkeypatch.setattr(exercises, "RUNS", RUNS)
    return repository


def write_card(folder: Path) -> Path:
    card = folder / "card.json"
    card.write_text('{"dataset": "digits", "checksum": "00", "source": "nowhere"}')
    return card


def run_study(repository) -> None:
    params = Params.load(repository.path)
    exercises.main(params, card=write_card(repository.path.parent), report=repository.path / "reports/exercises")


def test_experiments_are_run_collected_and_removed(repository):
    repository.dvc("exp", "run", "--temp", "--name", "exercises-b", "evaluate")  # left over from an interrupted study
    repository.dvc("exp", "run", "--queue", "--name", "mine", "evaluate")
    run_study(repository)
    folder = repository.path / "reports/exercises"

    about = json.loads((folder / "about.json").read_text())
    assert about["changed"] == {
        "exercises-a": {"schedule": "linear", "timesteps": 1000},
        "exercises-b": {"schedule": "cosine", "timesteps": 200},
    }
    assert about["data"] == {"dataset": "digits", "checksum": "00"}
    assert about["commit"] == repository.git("rev-parse", "--short", "HEAD").strip()
    assert about["alpha_bar_T"]["exercises-a"] == pytest.approx(4.04e-5, rel=0.01)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [(run["fid"], run["shown_calls"]) for run in metrics.values()] == [(1000, 40), (200, 40)]
    history = pd.read_csv(folder / "history.csv")
    assert history.values.tolist() == [
        ["exercises-a", 1, 1000],
        ["exercises-a", 2, 0.5],
        ["exercises-b", 1, 200],
        ["exercises-b", 2, 0.5],
    ]
    tiles = exercises.Reports(folder, page="index", results=folder).tiles("samples.png", 2, 16)
    assert tiles.shape == (2, 16, 8, 8) and tiles[:, :, 0, 0].tolist() == [list(range(32, 48))] * 2

    assert "mine" in repository.dvc("queue", "status").output
    assert not repository.git("for-each-ref", "refs/exps/*/*/*")
    assert repository.changes() == [
        f"reports/exercises/{name}" for name in sorted(path.name for path in folder.iterdir())
    ]


def test_a_failure_is_told_and_leaves_nothing_behind(repository, monkeypatch, capfd):
    monkeypatch.setattr(exercises, "RUNS", {"exercises-0": ("seed=13",), "exercises-1": ("seed=1",)})
    with pytest.raises(ValueError, match="exercises-0: the experiment failed, see its output above"):
        run_study(repository)
    assert "error: it brings bad luck" in "".join(capfd.readouterr())
    assert not repository.git("for-each-ref", "refs/exps/*/*/*")
    assert not repository.changes()


def test_params_that_200_steps_cannot_have_are_refused_before_any_work(repository):
    params = Params.load(repository.path).changed(["sampling.num_steps=500"])
    with pytest.raises(ValueError, match="exercises-b: sampling.num_steps: 500 is not possible .*timesteps = 200"):
        exercises.main(params, card=write_card(repository.path.parent), report=repository.path / "reports/exercises")
