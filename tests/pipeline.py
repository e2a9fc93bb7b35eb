"""A repository with this working tree's pipeline in it, for tests that run DVC for real."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = re.compile(r"reports/|(chapters/\w+/)?dvc\.lock")  # of the default run
KEPT_RESULTS = (
    "reports/lesson/",
    "reports/frontier/",
    "reports/larger/",
    "reports/density/",
    "reports/stability/",
    "reports/exercises/",
    "reports/seeds/",
)  # of studies, which the pages only show
DEADLINE_SECONDS = 300  # of whatever a test waits for: only a hang takes that long
COMMAND_SECONDS = 1800  # of one command, and of the smoke run too: as above


def wait_until(condition: Callable[[], object], what: str, every: float = 0.01) -> None:
    """Return once the condition holds; it is asked again `every` so many seconds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"still waiting after {DEADLINE_SECONDS} s: {what}"
        time.sleep(every)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status and all that it printed."""

    status: int
    output: str

    @property
    def ran(self) -> list[str]:
        """The stages that ran, in order, without the file that they stand in."""
        return re.findall(r"Running stage '(?:\S+:)?(\w+)'", self.output)

    @property
    def from_cache(self) -> list[str]:
        """The stages whose results came from the run-cache."""
        return re.findall(r"Stage '(?:\S+:)?(\w+)' is cached", self.output)


@dataclass(frozen=True)
class Repository:
    """A git repository with DVC in it, away from everything that the user has configured."""

    path: Path

    def environment(self) -> dict[str, str]:
        """The interpreter that runs the tests comes first, and nothing of the outside but the rest of PATH.

        Without SHELL, DVC takes /bin/sh, which unlike bash may stay between DVC and the stage. The networks are so
        small that a second thread costs more than it gives, and much more where other processes are at work.
        """
        outside = ("DVC_", "GIT_", "PYTHON", "SHELL")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
        own = self.path.parent / "machine"
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_GLOBAL_CONFIG_DIR": str(own),
            "DVC_SYSTEM_CONFIG_DIR": str(own),
            "DVC_SITE_CACHE_DIR": str(own),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, *command: str, fails: bool = False, **environment: str) -> Ended:
        """Run a command in the repository; it must end well, or badly where `fails`.

        What it prints goes to a file: the workers that `dvc queue start` leaves behind would hold a pipe open until
        they end, if they do.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
            process = subprocess.run(
                command,
                cwd=self.path,
                env=self.environment() | environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_SECONDS,
            )
            printed.seek(0)
            ended = Ended(process.returncode, printed.read())
        assert (ended.status != 0) == fails, f"{' '.join(command)} ended with {ended.status}:\n{ended.output[-4000:]}"
        return ended

    def dvc(self, *words: str, fails: bool = False, **environment: str) -> Ended:
        return self.run("dvc", *words, fails=fails, **environment)

    def git(self, *words: str) -> str:
        return self.run("git", *words).output

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def changes(self) -> list[str]:
        """What git sees changed, added or removed since the commit."""
        return [line[3:] for line in self.git("status", "--porcelain", "--untracked-files=all").splitlines()]

    def clone(self, path: Path) -> "Repository":
        """A clone: what is in git, and nothing of the cache."""
        self.git("clone", "--quiet", ".", str(path))
        return Repository(path).as_committer()

    def as_committer(self) -> "Repository":
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@localhost")
        return self

    def go_back(self) -> None:
        """The committed state, in the words of the README, and without files that a test left behind."""
        self.git("restore", ".")
        self.git("clean", "--quiet", "--force", "-d")
        self.dvc("checkout", "--quiet")

    def set_param(self, key: str, value: object) -> None:
        """Write another value of a key at the top of params.yaml; comments stay."""
        path = self.path / "params.yaml"
        text, number = re.subn(rf"(?m)^{key}: \S+", f"{key}: {value}", path.read_text())
        assert number == 1, key
        path.write_text(text)


def working_tree(path: Path) -> Repository:
    """A new repository with one commit: this working tree as it stands, without the results of its last run."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        if (name.startswith(KEPT_RESULTS) or not RESULTS.match(name)) and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    repository = Repository(path)
    repository.git("init", "--quiet")
    repository.as_committer().commit("The pipeline")
    return repository


def smoke_run(repository: Repository) -> None:
    """Run presets/smoke.args, the spine and all chapters, in a repository without results, and commit them."""
    preset = (ROOT / "presets" / "smoke.args").read_text().split()
    repository.dvc("exp", "run", "--all-pipelines", *preset)
    repository.commit("Results of the smoke run")
