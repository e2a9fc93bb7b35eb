"""Trainings that are killed: every stage that trains ends with the same bytes as one that never was.

Each attempt is a process of its own, forked from a server that has imported everything, and kills itself at a step or
in the middle of writing a checkpoint. Checkpoints are written after every step, so nothing at all may be lost.
"""

import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
from param_files import read_params, set_param, smoke_params, write_params
from pipeline import ROOT
from test_failures import (
    AUTOENCODER,
    COMMANDS,
    DAMAGE,
    GRADES,
    TEST,
    TRAIN,
    write_autoencoder,
    write_captions,
    write_split,
)

from diffusion import tensors as tensors_on_disk
from diffusion.tensors import load_tensors
from diffusion.training.optimiser import Optimiser

TRAININGS = ("train", "judge", "train_latent", "autoencoder", "vae", "gan")
STEPS = 14
SEED = 0
# (signal, place of the kill in step s, the step at which the next attempt begins, minus s)
KILLS = [
    (signal.SIGKILL, "step", 0),
    (signal.SIGTERM, "step", 1),
    (signal.SIGINT, "step", 1),
    (signal.SIGKILL, "half a checkpoint", 0),
    (signal.SIGTERM, "before its name", 1),
    (signal.SIGKILL, "before its name", 0),
    (signal.SIGKILL, "after its name", 1),
]
KILLS_PER_TRAINING = 4  # 24 in all


@dataclass(frozen=True)
class Attempt:
    """How a process ended: its exit code, its errors, the steps that it took."""

    code: int
    errors: str
    steps: list[int]


def die(name, folder, kill, root):
    """Run a stage in `folder`, in this process, as DVC in `root` does; kill = (signal, place, step) or None."""
    os.chdir(folder)
    errors, steps = (os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for file in ("errors", "steps"))
    os.dup2(errors, 2)
    os.environ["DVC_ROOT"] = str(root)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here
    if (folder / "other.py").exists():  # other code of ours
        module = sys.modules["diffusion.other"] = ModuleType("diffusion.other")
        module.__file__ = str(folder / "other.py")
    at, place, last = kill or (None, None, None)
    here = []
    descend, save_file, replace = Optimiser.descend, tensors_on_disk.save_file, os.replace

    def descend_or_die(self, loss, gradient):
        os.write(steps, f"{self.step}\n".encode())
        first = not here  # of the optimisers that take this step
        here[:] = [place] if self.step == last else []
        if here == ["step"] and first:
            os.kill(os.getpid(), at)
        return descend(self, loss, gradient)

    def save_or_die(tensors, file, *rest):
        save_file(tensors, file, *rest)
        if here == ["half a checkpoint"]:
            file.truncate(file.tell() // 2)
            os.kill(os.getpid(), at)

    def replace_or_die(source, target):
        final = str(target).endswith(".safetensors")
        if here == ["before its name"] and final:
            os.kill(os.getpid(), at)
        replace(source, target)
        if here == ["after its name"] and final:
            os.kill(os.getpid(), at)

    Optimiser.descend, tensors_on_disk.save_file, os.replace = descend_or_die, save_or_die, replace_or_die
    sys.argv = [*COMMANDS[name]]
    runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)


@pytest.fixture
def attempt(server):
    """Run a stage in a folder in a process of its own."""

    def run(name, folder, kill=None, root=None):
        process = server.Process(target=die, args=(name, folder, kill, root or folder))
        process.start()
        process.join()
        steps = [int(step) for step in (folder / "steps").read_text().split()]
        return Attempt(process.exitcode, (folder / "errors").read_text(), steps)

    return run


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder in which every training can start, and takes a second."""
    folder = tmp_path_factory.mktemp("toy")
    params = smoke_params()
    for name in TRAININGS:
        params[name] |= {"steps": STEPS, "batch_size": 8, "log_every": 4}
    write_params(folder, params | {"checkpoint_seconds": 0})
    write_split(folder / TRAIN)
    write_split(folder / TEST)
    write_autoencoder(folder / AUTOENCODER)
    write_captions((folder / GRADES).parent)
    return folder


@pytest.fixture
def copy(toy, tmp_path):
    """Copies of it."""
    return lambda name: shutil.copytree(toy, tmp_path / name)


def results(folder):
    """The bytes of all that a training leaves, but for its clock."""
    files = [path for part in ("models", "results") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "timing.json"}


def checkpoints_in(folder):
    return sorted(folder.glob("checkpoints/*/*.safetensors"))


def in_one_line(attempt):
    """The last line of the errors, behind the progress bar."""
    assert attempt.code == 1 and "Traceback" not in attempt.errors
    return attempt.errors.splitlines()[-1]


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(attempt, copy, name):
    whole, killed = copy("whole"), copy("killed")
    assert attempt(name, whole).code == 0
    draw = random.Random(f"{SEED} {name}")
    kills = list(zip(draw.sample(KILLS, KILLS_PER_TRAINING), sorted(draw.sample(range(1, STEPS - 1), 4)), strict=True))
    begin = 0
    for (at, place, lost), step in kills:
        ended = attempt(name, killed, (at, place, step))
        assert ended.steps[0] == begin and ended.steps[-1] == step, (kills, ended)
        begin = step + lost
        if at == signal.SIGKILL:
            assert ended.code == -signal.SIGKILL
        else:
            assert in_one_line(ended).startswith("interrupted; ")
    assert 1 <= len(checkpoints_in(killed)) <= 3
    rest = attempt(name, killed)
    assert rest.code == 0 and rest.steps[0] == begin and rest.steps[-1] == STEPS - 1
    assert results(killed) == results(whole) and len(results(whole)) > 1
    assert not list(killed.glob("checkpoints/*"))


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_before_the_first_checkpoint_is_due_writes_one(attempt, copy, by):
    whole, stopped = copy("whole"), copy("stopped")
    attempt("train", whole)
    set_param(stopped, "checkpoint_seconds", 1000.0)
    assert in_one_line(attempt("train", stopped, (by, "step", 5))).startswith("interrupted; ")
    assert attempt("train", stopped).steps[0] == 6
    assert results(stopped) == results(whole)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_goes_on(attempt, copy, damage):
    """What a machine that goes off may leave of a file whose bytes never reached the disk."""
    whole, damaged = copy("whole"), copy("damaged")
    attempt("train", whole)
    attempt("train", damaged, (signal.SIGKILL, "step", 9))
    before, last = checkpoints_in(damaged)
    DAMAGE[damage](last)
    ended = attempt("train", damaged, (signal.SIGKILL, "step", 10))
    told = [line for line in ended.errors.splitlines() if str(last) in line]
    assert len(told) == 1 and "damaged" in told[0] and ended.steps[0] == 8
    assert [path.name for path in damaged.glob("checkpoints/*/*.damaged")] == [f"{last.name}.damaged"]

    for path in checkpoints_in(damaged):
        DAMAGE[damage](path)
    anew = attempt("train", damaged)
    assert anew.steps[0] == 0 and anew.errors.count("damaged (") == 2 and before.name not in anew.errors
    assert results(damaged) == results(whole)


def test_a_checkpoint_is_of_use_to_the_very_same_training_alone(attempt, copy):
    folder = copy("folder")
    attempt("train", folder, (signal.SIGKILL, "step", 5))
    same = {name: (folder / name).read_bytes() for name in ("params.yaml", TRAIN)}

    def begins(last):
        return attempt("train", folder, (signal.SIGKILL, "step", last)).steps[0]

    set_param(folder, "train.label_dropout", 0.2)
    assert begins(3) == 0  # other params
    (folder / "params.yaml").write_bytes(same["params.yaml"])
    write_split(folder / TRAIN, class_names=tuple("abcdefghij"))
    assert begins(3) == 0  # other data
    (folder / TRAIN).write_bytes(same[TRAIN])
    (folder / "other.py").write_text("")
    assert begins(3) == 0  # other code
    (folder / "other.py").unlink()
    set_param(folder, "checkpoint_seconds", 1e-9)
    assert begins(7) == 5
    assert len(list(folder.glob("checkpoints/*"))) == 4


def test_a_copy_that_an_experiment_runs_in_goes_on_from_the_checkpoint_of_the_workspace(attempt, copy):
    """And the other way round: DVC makes a new copy for every run of --temp and of the queue."""
    whole, workspace, first, second = map(copy, ("whole", "workspace", "first", "second"))
    attempt("train", whole)
    attempt("train", first, (signal.SIGKILL, "step", 3), workspace)
    assert attempt("train", second, (signal.SIGTERM, "step", 6), workspace).steps[0] == 3
    assert attempt("train", workspace, (signal.SIGKILL, "step", 9)).steps[0] == 7
    assert attempt("train", second, None, workspace).steps[0] == 9
    assert results(second) == results(whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_learning_rate_far_too_high_stops_and_keeps_what_was_good(attempt, copy, name, precision):
    folder = copy("folder")
    params = read_params(folder)
    params[name] |= {"learning_rate": 1e9, "log_every": 1}
    write_params(folder, params | {"precision": precision})
    ended = attempt(name, folder)
    line, last = in_one_line(ended), ended.steps[-1]
    assert 0 < last < STEPS and line.startswith("error: ") and "training diverged: " in line
    assert f" at step {last + 1} with learning rate " in line and f" in {precision} (" in line

    tensors, _ = load_tensors(checkpoints_in(folder)[-1])
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    (history,) = (folder / "results").rglob("history.csv")
    assert [int(row.split(",")[0]) for row in history.read_text().splitlines()[1:]] == list(range(1, last + 1))
    assert str(history.relative_to(folder)) in line
    assert not list((folder / "models").rglob(f"*{name}*.safetensors")) or name == "autoencoder"
    again = attempt(name, folder)
    assert again.code == 1 and again.steps[0] == last  # and nothing of it was taken in


def test_ctrl_c_while_a_stage_is_still_being_imported_shows_no_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "stages.train", "--help"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_the_code_of_a_training_is_all_that_it_runs():
    import studies.density  # noqa: F401
    from stages.shared.training import sources

    names = {str(path.resolve()) for path in sources()}
    ours = [
        "src/diffusion/training/loop.py",
        "src/diffusion/nets/unet.py",
        "stages/shared/training.py",
        "stages/shared/progress.py",
    ]
    assert {str((ROOT / file).resolve()) for file in [*ours, "studies/density.py"]} <= names
