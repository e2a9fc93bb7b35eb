"""The recipes of docs/extending.md are true: their edits are applied to a copy of the tree, and their work is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[1]
RECIPES = (ROOT / "docs/extending.md").read_text()
SMOKE = dict(re.findall(r"^-S ([\w.]+)=(.*)$", (ROOT / "presets/smoke.args").read_text(), re.MULTILINE))
SMALL = SMOKE | {"device": "cpu", "precision": "fp32", "judge.steps": "4", "train.steps": "4"}
PATHS = {
    "prepare": ["--out", "data/processed", "--results", "results/data"],
    "judge": ["--data", "data/processed", "--models", "models/judges", "--results", "results/judge"],
    "schedules": ["--data", "data/processed", "--models", "models/judges", "--results", "results/schedules"],
    "train": [
        *("--data", "data/processed", "--model", "models/denoiser.safetensors"),
        *("--early", "models/early.safetensors", "--results", "results/train"),
    ],
}


class Tree:
    """A copy of the working tree, without its results, in which recipes are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def follow(self, recipe: str) -> list[str]:
        """Apply the edits of the recipe under this heading; returns the files that they touch."""
        (section,) = re.findall(rf"^## {recipe}\n(.*?)(?=^## |\Z)", RECIPES, re.MULTILINE | re.DOTALL)
        touched = []
        for edit in re.findall(r"```diff\n(.*?)```", section, re.DOTALL):
            name, *hunks = re.split(r"^@@\n", edit, flags=re.MULTILINE)
            path = self.path / name.removeprefix("+++ ").strip()
            text = path.read_text() if path.exists() else ""
            for hunk in hunks:
                text = edited(text, hunk)
            path.write_text(text)
            touched.append(str(path.relative_to(self.path)))
        python = [name for name in touched if name.endswith(".py")]
        self.run("ruff", "check", "--quiet", *python)
        self.run("ruff", "format", "--check", "--quiet", *python)
        return touched

    def run(self, *words: str) -> None:
        """Run a Python module in the tree, on one thread."""
        paths = os.pathsep.join(str(self.path / folder) for folder in ("src", "."))
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.path, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def stage(self, name: str) -> None:
        """Run a stage with the paths that it has in dvc.yaml."""
        self.run(f"stages.{name}", *PATHS[name])

    def sample(self, *words: str) -> np.ndarray:
        """Sample four images by the command: (4, H, W) uint8."""
        self.run("diffusion.sample", "--labels", "0-3", "--num", "4", "--steps", "5", *words, "--out", "images.npz")
        return np.load(self.path / "images.npz")["images"]

    def set_params(self, changes: dict[str, str]) -> None:
        """Write other values into params.yaml, by key or section.key, as `dvc exp run -S` does."""
        path = self.path / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *section, name = key.split(".")
            (params[section[0]] if section else params)[name] = yaml.safe_load(value)
        path.write_text(yaml.safe_dump(params))


def edited(text: str, hunk: str) -> str:
    """A text with lines added (+) and removed (-) at the one place that has the others; ... is any lines between."""
    pattern, result = "^", []
    for number, line in enumerate(hunk.splitlines()):
        sign, content = line[0], line[1:]
        if sign == "+":
            result.append(f"{content}\n")
        else:
            lines = r"(?:.*\n)*?" if content == "..." else re.escape(f"{content}\n")
            pattern += f"(?P<line{number}>{lines})"
            result += [number] if sign == " " else []
    places = list(re.finditer(pattern, text, re.MULTILINE)) if text else [re.match("", "")]
    assert len(places) == 1, f"{len(places)} places for this edit:\n{hunk}"
    (place,) = places
    new = "".join(part if isinstance(part, str) else place[f"line{part}"] for part in result)
    return text[: place.start()] + new + text[place.end() :]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Tree:
    """The tree with data, judges and a denoiser of a few steps."""
    tree = Tree(tmp_path_factory.mktemp("extending") / "tree")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if not name.startswith("reports/") and (ROOT / name).is_file():
            (tree.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree.path / name)
    tree.set_params(SMALL)
    for stage in ("prepare", "judge", "train"):
        tree.stage(stage)
    return tree


@pytest.fixture
def tree(trained, tmp_path) -> Tree:
    """The same, for a test that changes it."""
    return Tree(shutil.copytree(trained.path, tmp_path / "tree"))


def test_a_sampler(tree):
    assert len(tree.follow("A sampler")) == 2
    images = tree.sample("--sampler", "renoise")
    assert images.shape == (4, 8, 8)
    assert (images != tree.sample("--sampler", "ddim")).any()


def test_a_schedule(tree):
    assert len(tree.follow("A schedule")) == 2
    tree.set_params({"schedule": "parabolic"})
    tree.stage("schedules")
    tree.stage("train")
    assert len((tree.path / "results/schedules/parabolic.csv").read_text().splitlines()) == 1 + int(SMALL["timesteps"])
    assert tree.sample().shape == (4, 8, 8)


def test_a_network(tree):
    touched = tree.follow("A network")
    tree.set_params({"model.net": "plain"})
    tree.stage("train")
    with safe_open(tree.path / "models/denoiser.safetensors", "pt") as weights:
        assert "first.weight" in weights.keys()  # noqa: SIM118
    assert tree.sample("--guidance", "2").shape == (4, 8, 8)
    tree.run("tests.deps")
    stages = yaml.safe_load((tree.path / "dvc.yaml").read_text())["stages"]
    assert set(touched) & set(stages["train"]["deps"])


def test_a_data_set(tree):
    assert len(tree.follow("A data set")) == 3
    tree.set_params({"data.dataset": "bars"})
    for stage in ("prepare", "train"):
        tree.stage(stage)
    assert "row,160,40" in (tree.path / "results/data/counts.csv").read_text()
    assert tree.sample("--labels", "0-1").shape == (4, 16, 16)
