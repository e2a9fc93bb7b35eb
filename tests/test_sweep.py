"""Sweeps: what a file may say, real DVC experiments of a pipeline that takes no time, and the page of their results."""

import json
import shutil
from math import comb
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pipeline import ROOT, Repository

from report.reading import Reports
from report.spine.runs import MEASURES
from report.sweep import mcnemar
from stages.params.params import Params
from studies import sweep
from studies.sweep import Measure, Sweep

PIPELINE = """stages:
  evaluate:
    cmd: python toy.py
    params: [seed, schedule, timesteps, train]
    outs: [results/data, results/train, results/evaluate]
  report:
    cmd: exit 1
"""
TOY = """
import json, sys
from pathlib import Path
import numpy as np, yaml
from PIL import Image

params = yaml.safe_load(Path("params.yaml").read_text())
if params["train"]["seed"] == 13:
    sys.exit("error: it brings bad luck")
for name in ("data", "train", "evaluate"):
    Path("results", name).mkdir(parents=True)
card = {"dataset": "digits", "checksum": "00", "source": "nowhere"}
Path("results/data/card.json").write_text(json.dumps(card))
Path("results/train/history.csv").write_text(f"step,loss,grad_norm\\n1,{params['timesteps']},0\\n2,0.5,0\\n")
seed = 0 if params["train"]["seed"] == "auto" else params["train"]["seed"]
figures = {"n": 4, "calls": 50, "fid": params["timesteps"] + seed, "accuracy": 0.5, "kid": {"mean": 0.1, "std": 0.2}}
figures |= dict.fromkeys(("precision", "recall", "clipped_density", "coverage", "clipped_coverage"))
Path("results/evaluate/metrics.json").write_text(json.dumps(figures))
Path("results/evaluate/predictions.csv").write_text(f"label,recognised\\n0,0\\n1,{seed}\\n2,1\\n3,3\\n")
rows = [("ddpm", 1000, ""), ("ddim", 10, 0.0), ("ddim", 40, 0.0), ("ddim", 50, 1.0), ("unipc", 50, "")]
table = [f"{name},{steps},{eta},{subset}" for subset in ("all", "first") for name, steps, eta in rows]
Path("results/evaluate/samplers.csv").write_text("\\n".join(["sampler,steps,eta,subset", *table]) + "\\n")
sheet = np.full((len(rows) * 10 - 2, 16 * 10 - 2), 128, np.uint8)
for row in range(len(rows)):
    for column in range(16):
        sheet[row * 10 : row * 10 + 8, column * 10 : column * 10 + 8] = 16 * row + column
Image.fromarray(sheet).save("results/evaluate/samplers.png")
"""
FILE = {"title": "A toy", "compare": ["fid", "accuracy"], "seeds": ["auto", 1]}
GRID = [{"schedule": ["linear"], "timesteps": [1000]}, {"schedule": ["cosine"], "timesteps": [200]}]


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    """The toy pipeline in the current folder."""
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
    return repository


def run_sweep(repository: Repository, **changes: object) -> Path:
    """Run the toy's sweep with other keys; returns the folder of its results."""
    file, folder = repository.path.parent / "toy.yaml", repository.path / "reports/toy"
    file.write_text(json.dumps(FILE | {"grid": GRID} | changes))  # JSON is YAML
    sweep.main(Params.load(repository.path), sweep=file, report=folder)
    return folder


def test_experiments_are_run_collected_and_removed(repository):
    repository.dvc("exp", "run", "--temp", "--name", "toy-2", "evaluate")  # left over from an interrupted sweep
    repository.dvc("exp", "run", "--queue", "--name", "mine", "evaluate")
    folder = run_sweep(repository)

    about = json.loads((folder / "about.json").read_text())
    settings = [{"schedule": "linear", "timesteps": 1000}, {"schedule": "cosine", "timesteps": 200}]
    runs = [{**setting, "train.seed": seed} for setting in settings for seed in ("auto", 1)]
    assert about["changed"] == {f"toy-{k}": run for k, run in enumerate(runs, start=1)}
    assert not {"schedule", "timesteps"} & about["params"].keys() and "seed" not in about["params"]["train"]
    assert about["params"]["seed"] == 0 and about["params"]["train"]["steps"] > 0
    assert about["data"] == {"dataset": "digits", "checksum": "00"}
    assert about["commit"] == repository.git("rev-parse", "--short", "HEAD").strip()
    assert about["alpha_bar_T"]["toy-1"] == pytest.approx(4.04e-5, rel=0.01)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [(run["fid"], run["shown_calls"]) for run in metrics.values()] == [
        (1000, 40),
        (1001, 40),
        (200, 40),
        (201, 40),
    ]
    assert pd.read_csv(folder / "history.csv").head(2).values.tolist() == [["toy-1", 1, 1000], ["toy-1", 2, 0.5]]
    assert pd.read_csv(folder / "predictions.csv").iloc[1].to_dict() == {
        "label": 1, "toy-1": 0, "toy-2": 1, "toy-3": 0, "toy-4": 1,
    }  # fmt: skip
    tiles = Reports(folder, page="index", results=folder).tiles("samples.png", 4, 16)
    assert tiles.shape == (4, 16, 8, 8) and tiles[:, :, 0, 0].tolist() == [list(range(32, 48))] * 4

    page = (folder / "README.md").read_text()
    assert "1,000.50 ± 0.71" in page and "200.50 ± 0.71" in page and "−800" in page
    assert (folder / "index.html").is_file()
    assert "mine" in repository.dvc("queue", "status").output
    assert not repository.git("for-each-ref", "refs/exps/*/*/*")
    assert {Path(name).parts[:2] for name in repository.changes()} == {("reports", "toy")}


def test_an_interrupted_sweep_takes_what_has_run_from_the_cache(repository, capfd):
    with pytest.raises(ValueError, match="toy-3: the experiment failed, see its output above"):
        run_sweep(repository, seeds=["auto", 1, 13], grid=[])
    printed = "".join(capfd.readouterr())
    assert "error: it brings bad luck" in printed and "is cached" not in printed
    assert not repository.git("for-each-ref", "refs/exps/*/*/*")
    assert not repository.changes()
    run_sweep(repository, seeds=["auto", 1], grid=[])
    assert "".join(capfd.readouterr()).count("is cached") == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compare": ["fit"]}, "compare.0: 'fit' is not possible"),
        ({"seeds": [-1]}, r"seeds.0: -1 is not possible \(allowed: whole numbers from 0 to .*, 'auto'\)"),
        ({"seeds": []}, "seeds: "),
        ({"sead": 1}, "sead: unknown key"),
        ({"grid": [{"timestep": [200]}]}, "toy-1: timestep: unknown key"),
        ({"grid": [{"timesteps": []}]}, "grid.0.timesteps"),
        ({"grid": [{"timesteps": [20]}]}, "toy-1: .*timesteps = 20"),
        ({"grid": [{"seed": [1, 2]}]}, "grid: seed cannot vary"),
        ({"grid": [{"train.seed": [1, 2]}]}, "grid: train.seed cannot vary"),
        ({"grid": [{"data.dataset": ["digits"]}]}, "grid: data.dataset cannot vary"),
        ({"grid": [{"timesteps": [1000, 1000]}]}, "toy-3: the same params as toy-1"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_before_any_work(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(sweep, "experiments", pytest.fail)
    file = tmp_path / "toy.yaml"
    file.write_text(json.dumps(FILE | {"grid": GRID} | changes))
    with pytest.raises(ValueError, match=rf"\A{file}: .*{message}.*\Z") as error:
        sweep.main(Params.load(ROOT), sweep=file, report=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["exercises", "seeds"])
def test_the_sweeps_of_the_project_are_possible_with_the_default_params(name):
    runs = Sweep.load(ROOT / f"studies/{name}.yaml").runs(name, Params.load(ROOT))
    assert len(runs) == {"exercises": 5, "seeds": 5}[name]


def test_a_blocks_values_are_combined_and_texts_are_quoted():
    plan = Sweep(title="T", compare=["fid"], seeds=[3], grid=[{"schedule": ["cosine"], "train.batch_size": [16, 64]}])
    assert plan.runs("x", Params.load(ROOT)) == {
        "x-1": ["schedule='cosine'", "train.batch_size=16", "train.seed=3"],
        "x-2": ["schedule='cosine'", "train.batch_size=64", "train.seed=3"],
    }


def test_every_measure_of_a_run_can_be_compared():
    assert set(get_args(Measure)) == set(MEASURES)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (3, 3), (9, 2), (2, 9), (40, 61)])
def test_mcnemars_p_is_that_of_a_fair_coin(b, c):
    first = np.repeat([True, False, True, False], [b, c, 5, 7])
    second = np.repeat([False, True, True, False], [b, c, 5, 7])
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    found = mcnemar(first, second)
    assert found[:2] == (b, c) and found.p == pytest.approx(min(1, 2 * tail))
