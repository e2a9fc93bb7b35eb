"""The same checks everywhere: `make test`, the pre-commit hooks and the hosted workflow; environments and presets."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from venv import EnvBuilder

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


@pytest.fixture
def checkout(tmp_path):
    """This working tree, with an environment whose `dvc` lists the stages and runs none of them."""
    repository = working_tree(tmp_path / "repository")
    binaries = repository.path / ".venv/bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "dvc").write_text(f"#!/bin/sh\nexec {sys.executable} -m dvc stage list --name-only\n")
    (binaries / "dvc").chmod(0o755)
    (repository.path / ".venv/.installed").touch()
    return repository


def test_make_does_without_git_only_as_long_as_git_does_not_answer(checkout):
    local = checkout.path / ".dvc/config.local"
    before = checkout.changes()
    for environment in ({}, {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}):
        assert "prepare\n" in checkout.run("make", **environment).output
        assert not local.exists() and checkout.changes() == before
    shutil.rmtree(checkout.path / ".git")  # as in an unpacked archive
    assert "prepare\n" in checkout.run("make").output
    assert not local.exists()
    assert "is not a git repository" in checkout.dvc("stage", "list", fails=True).output
    assert "prepare" in checkout.dvc("stage", "list", DVC_SYSTEM_CONFIG_DIR=".dvc/without_git").output


@pytest.mark.parametrize("place", ["moved", "a place with spaces"])
def test_an_environment_that_was_moved_names_its_new_place(tmp_path, place):
    before, after = tmp_path / "before", tmp_path / place
    (before / "src").mkdir(parents=True)
    for name in ("Makefile", "tests/moved.py"):
        (before / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, before / name)
    EnvBuilder(symlinks=True).create(before / ".venv")
    (links,) = (before / ".venv").glob("lib/*/site-packages")
    (links / "_ours.pth").write_text(f"{before}/src\n")
    tool = Path(".venv/bin/tool")
    (before / tool).write_text(f"#!{before}/.venv/bin/python\nimport sys\nprint(sys.prefix, *sys.path, sep='\\n')\n")
    (before / tool).chmod(0o755)
    (before / ".venv/.installed").write_text(f"{before}/.venv\n")
    before.rename(after)
    for expected in (["This folder was"], []):  # and once only
        done = subprocess.run(["make", "moved"], cwd=after, check=True, capture_output=True, text=True)
        assert [line[:15] for line in done.stdout.splitlines() if not line.startswith("make")] == expected
    activated = f". .venv/bin/activate && {tool.name}"
    for command in ([str(after / tool)], ["bash", "-c", activated]):
        found = subprocess.run(command, cwd=after, check=True, capture_output=True, text=True).stdout.splitlines()
        assert found[0] == f"{after}/.venv" and f"{after}/src" in found


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").iterdir()), ids=lambda path: path.name)
def test_a_preset_changes_keys_that_exist_to_values_that_are_possible(preset):
    words = preset.read_text().split()
    assert words and set(words[::2]) == {"-S"}
    AllParams.load(ROOT).changed(words[1::2])
