"""The same checks everywhere: `make test`, the pre-commit hooks and the hosted workflow; environments and presets."""

import re
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from pipeline import working_tree

from stages.params.params import AllParams

ROOT = Path(__file__).resolve().parents[1]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())


def commands_of_make_test() -> list[str]:
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    return recipe.replace("\t", "").splitlines()


def tool(command: str) -> str:
    """The name of the tool, with ruff's subcommand."""
    return " ".join(command.split()[: 2 if command.startswith("ruff") else 1])


def test_hooks_and_make_test_run_the_same_tools():
    hooks = [hook["entry"] for repository in HOOKS["repos"] for hook in repository["hooks"]]
    assert [*map(tool, hooks), "pytest"] == [*map(tool, commands_of_make_test())]
    assert all(hook["language"] == "system" for repository in HOOKS["repos"] for hook in repository["hooks"])


def test_no_hook_touches_results_or_locks():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    results = [name for name in tracked.splitlines() if name.startswith("reports/") or name.endswith("dvc.lock")]
    assert results and all(re.search(HOOKS["exclude"], name) for name in results)
    assert not re.search(HOOKS["exclude"], "src/report/wording.py")


def test_the_workflow_tests_the_oldest_python_and_newer_ones():
    job = WORKFLOW["jobs"]["test"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert job["steps"][-1] == {"run": "make test"}
    assert job["strategy"]["matrix"]["python"][0] == oldest and len(job["strategy"]["matrix"]["python"]) > 1


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_a_build_for_cpus_fits_the_lock(name):
    """`make` installs what is missing or does not fit: a local version label like +cpu does."""
    (locked,) = re.findall(rf"^{name}==.*$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    version = locked.partition("==")[2]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = map(Requirement, [locked, *declared, *requires("torchvision")])
    fitting = [wish.specifier.contains(f"{version}+cpu") for wish in wanted if wish.name == name]
    assert len(fitting) >= 2 and all(fitting)
    assert f"{name}=={version}" in (ROOT / "README.md").read_text()


def test_dvc_does_without_git_only_as_long_as_git_does_not_answer(tmp_path):
    repository = working_tree(tmp_path / "repository")
    local = repository.path / ".dvc/config.local"

    def make(**environment):
        repository.run("make", "repository", **environment)

    make()
    assert not local.exists()
    make(GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert "no_scm = true" in local.read_text()
    make()
    assert "no_scm" not in local.read_text()


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").iterdir()), ids=lambda path: path.name)
def test_a_preset_changes_keys_that_exist_to_values_that_are_possible(preset):
    words = preset.read_text().split()
    assert words and set(words[::2]) == {"-S"}
    AllParams.load(ROOT).changed(words[1::2])
