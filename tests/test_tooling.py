"""The same checks everywhere: `make test`, the pre-commit hooks and the hosted workflow."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

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
