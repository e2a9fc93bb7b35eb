"""Processes that share a run: the same bytes or the same curve at any number, and one that dies ends them all.

All are forked from a server that has imported everything, but for two tests that start a stage as a user does.
`KILLS=10 pytest tests/test_processes.py -k killed` kills more of them.
"""

import os
import random
import runpy
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from param_files import read_params, smoke_params, write_params
from pipeline import DEADLINE_SECONDS, ROOT, wait_until
from test_batches import SHAPE
from test_failures import (
    AUTOENCODER,
    COMMANDS,
    EARLY,
    GO_BACK,
    GRADES,
    JUDGE,
    MODEL,
    SECOND_JUDGE,
    TEST,
    TRAIN,
    write_autoencoder,
    write_captions,
    write_judge,
    write_model,
    write_split,
)
from torch import nn
from torch.nn import functional as F

from diffusion import processes
from diffusion.denoiser import Denoiser
from diffusion.files import whole_file
from diffusion.generation import of_one_call
from diffusion.likelihood.density import Density
from diffusion.nets.classifier import Classifier
from diffusion.nets.unet import UNet
from diffusion.quality.judge import Judge
from diffusion.schedule import noise_schedule
from diffusion.tensors import load_tensors, save_tensors
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Optimiser
from stages.shared import start, together
from stages.shared.interruption import interruptible

CPU = torch.device("cpu")
COUNTS = (1, 2, 4)
STEPS, SHARDS = 12, 4
KILLS = int(os.environ.get("KILLS", 3))


def take_part(rank, count, port, folder, act, *arguments):
    """Be one of `count` processes that act in `folder`, as torchrun would start it; errors go to errors.RANK."""
    os.chdir(folder)
    os.dup2(os.open(f"errors.{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    start.RANK, together.SHARED = rank, count > 1
    act(*arguments)


def run_stage(name, victim=None, last=None):
    """Run a stage of params.yaml; the process with the rank `victim` kills itself in step `last`."""
    descend = Optimiser.descend

    def descend_or_die(self, loss, gradient):
        if (start.RANK, self.step) == (victim, last):
            os.kill(os.getpid(), signal.SIGKILL)
        return descend(self, loss, gradient)

    Optimiser.descend = descend_or_die
    sys.argv = [*COMMANDS[name]]
    runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)


@pytest.fixture
def in_processes(server):
    """Act in so many processes at once; returns how each ended."""

    def run(count, folder, act, *arguments):
        port = free_port()
        of_each = [(rank, count, port, folder, act, *arguments) for rank in range(count)]
        started = [server.Process(target=take_part, args=arguments) for arguments in of_each]
        for process in started:
            process.start()
        for process in started:
            process.join()
        return [process.exitcode for process in started]

    return run


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder in which stages can start, and take a second."""
    folder = tmp_path_factory.mktemp("toy")
    params = smoke_params()
    for name in ("train", "judge", "gan", "train_latent"):
        params[name] |= {"steps": STEPS, "batch_size": 8, "log_every": 4}
    write_params(folder, params | {"checkpoint_seconds": 0, "shards": SHARDS, "device": "cpu"})
    write_split(folder / TRAIN)
    write_split(folder / TEST)
    write_autoencoder(folder / AUTOENCODER)
    write_captions((folder / GRADES).parent)
    return folder


@pytest.fixture
def copy(toy, tmp_path):
    """Copies of it."""
    return lambda name: shutil.copytree(toy, tmp_path / name)


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def results(folder):
    """The bytes of all that stages leave, but for their clocks."""
    files = [path for part in ("models", "results") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "timing.json"}


def errors(folder, count):
    """What each process said, without progress bars."""
    texts = [(folder / f"errors.{rank}").read_text() for rank in range(count)]
    return [[line for line in text.replace("\r", "\n").splitlines() if line and "img" not in line] for text in texts]


# what processes know of each other


def exchange():
    """Work whose results differ in shape, type and number, and the other meetings."""
    with processes.joined(CPU):
        rank, count = processes.rank(), processes.count()

        def work(item):
            return torch.full((item, 2), item, dtype=torch.uint8), torch.tensor(item / 7, dtype=torch.float64)

        for number in (7, 1, count):
            for item, (rows, one) in enumerate(processes.spread(work, range(number), number, CPU)):
                assert torch.equal(rows, work(item)[0]) and torch.equal(one, work(item)[1])
        (first,) = processes.from_first(lambda: (torch.tensor([rank, processes.count()]),))
        assert first.tolist() == [0, 1]
        assert processes.total(0.5) == count / 2 and processes.largest(rank) == count - 1
        a, b = processes.summed((torch.full((2, 3), float(rank)), torch.tensor(1.0)))
        assert a.shape == (2, 3) and a.unique().tolist() == [sum(range(count))] and b == count
        with whole_file(Path("who")) as partial:
            partial.write_text(str(rank))
        assert Path("who").read_text() == "0"  # at once, in all
        with processes.alone():
            assert [item for (item,) in processes.spread(lambda item: (item,), range(3), 3, CPU)] == [0, 1, 2]
    assert processes.count() == 1


@pytest.mark.parametrize("count", [2, 3])
def test_what_processes_tell_each_other_arrives_whole_and_in_order(in_processes, tmp_path, count):
    assert in_processes(count, tmp_path, exchange) == [0] * count, errors(tmp_path, count)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"errors.{rank}" for rank in range(count)), "who"]


# training


@pytest.mark.parametrize("name", ["train", "gan", "judge"])
def test_a_training_has_the_same_bytes_in_any_number_of_processes_that_divides_its_shards(in_processes, copy, name):
    found = []
    for count in COUNTS if name == "train" else (1, 2):
        folder = copy(f"in {count}")
        assert in_processes(count, folder, run_stage, name) == [0] * count, errors(folder, count)
        found.append(results(folder))
    assert len(found[0]) > 1 and all(other == found[0] for other in found[1:])


def train_and_save():
    """200 steps of a small classifier, in one shard; the losses go to a file."""
    with processes.joined(CPU) if "RANK" in os.environ else processes.alone():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.SiLU(), nn.Linear(16, 3))

        def loss(x, label, draws):
            value = F.cross_entropy(net(x + 0.1 * draws.normal(x.shape[1:], of="noise")), label)
            return value, {"loss": value}

        learners = {"net": Learner(net, loss, Optimiser(net.parameters(), 1e-2, 200))}
        items = torch.randint(0, 256, (64, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        step = training_step(learners, items, torch.arange(64) % 3, batch_size=8, seed=0, purpose="train")
        losses = [progress.means["loss"] for progress in fit(step, state_of(learners), 200, 1)]
        save_tensors(Path("losses"), {"losses": torch.tensor(losses)}, {})


def test_without_shards_the_curve_is_that_of_one_process(in_processes, tmp_path):
    """Up to rounding, in fp32: a batch is cut into as many parts as there are processes."""
    curves = []
    for count in COUNTS:
        folder = tmp_path / str(count)
        folder.mkdir()
        assert in_processes(count, folder, train_and_save) == [0] * count, errors(folder, count)
        curves.append(load_tensors(folder / "losses")[0]["losses"])
    one, *others = curves
    assert len(one) == 200 and one[-1] < one[0] / 2
    for other in others:
        assert (other - one).abs().max() < 1e-5


def test_more_processes_than_items_in_a_batch_are_refused_by_one(in_processes, copy):
    folder = copy("folder")
    params = read_params(folder)
    params["train"]["batch_size"] = 1
    write_params(folder, params)
    assert in_processes(2, folder, run_stage, "train") == [1, 1]
    (line,) = [line for lines in errors(folder, 2) for line in lines]
    assert line == f"error: batch_size: 1 is too small for 2 processes (allowed: at least one each){GO_BACK}"


def test_a_divergence_is_seen_by_all_in_the_same_step_and_told_by_one(in_processes, copy):
    folder = copy("folder")
    params = read_params(folder)
    params["train"] |= {"learning_rate": 1e9, "log_every": 1}
    write_params(folder, params)
    assert in_processes(2, folder, run_stage, "train") == [1, 1]
    (line,) = [line for lines in errors(folder, 2) for line in lines]
    assert "training diverged: " in line
    (history,) = (folder / "results").rglob("history.csv")
    assert f" at step {len(history.read_text().splitlines())} with " in line  # the header stands for the step itself


def test_one_that_is_killed_ends_all_and_any_number_goes_on_from_the_checkpoint(in_processes, copy):
    whole, killed = copy("whole"), copy("killed")
    in_processes(1, whole, run_stage, "train")
    draw = random.Random(0)
    for last in sorted(draw.sample(range(1, STEPS - 1), KILLS)):
        count = draw.choice((2, 4))
        victim = draw.randrange(count)
        codes = in_processes(count, killed, run_stage, "train", victim, last)
        assert codes[victim] == -signal.SIGKILL and all(code == 1 for rank, code in enumerate(codes) if rank != victim)
        lines = [line for lines in errors(killed, count) for line in lines]
        assert lines and all(
            line == f"error: another process of this run has ended or does not answer{GO_BACK}" for line in lines
        )
        newest = max(path.name for path in killed.glob("checkpoints/*/*.safetensors"))
        assert int(newest.split(".")[0]) == last
    assert {*in_processes(draw.choice(COUNTS), killed, run_stage, "train")} == {0}
    assert results(killed) == results(whole)


# images and figures


def sample_and_judge():
    """Images, what a judge sees in them, and both bounds of likelihood, in batches of several sizes."""
    with processes.joined(CPU) if "RANK" in os.environ else processes.alone():
        torch.manual_seed(0)
        labels = torch.arange(10) % 3
        model = of_one_call(lambda z, label: (z + label[:, None, None, None]).view(-1, 1, 8, 8) / 4, 64, CPU)
        model = replace(model, shape=SHAPE)
        images = model.images(labels, 0, "sample", 4)
        judge = Judge(Classifier(8, 1, 3, knows_noise=False), CPU)
        seen = judge.see(images.repeat(60, 1, 1, 1))  # more than a batch of it
        density = Density.grey_aware(small_denoiser(), images, 3, 1e-2, seed=0)
        many = images.repeat(4, 1, 1, 1)
        bound, by_ode = density.bound(many, labels.repeat(4)), density.by_ode(many, labels.repeat(4))
        found = {"images": images, "total": bound.total(), "by_ode": by_ode, **seen._asdict()}
        save_tensors(Path("found"), found, {})


def small_denoiser():
    net = UNet(8, 1, 3, patch=1, channels=[8], blocks=1, attention_heads=0, dropout=0.0)
    return Denoiser(net.eval().requires_grad_(False), noise_schedule("linear", 50), "v")


def test_images_verdicts_and_bounds_are_the_same_in_any_number_of_processes(in_processes, tmp_path):
    found = []
    for count in (1, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        assert in_processes(count, folder, sample_and_judge) == [0] * count, errors(folder, count)
        found.append(load_tensors(folder / "found")[0])
    one, three = found
    assert all(torch.equal(one[name], three[name]) for name in one) and len(one) == 5


@pytest.mark.parametrize("name", ["evaluate", "guidance"])
def test_a_stage_that_samples_writes_the_same_in_two_processes(in_processes, copy, name):
    found = []
    write = copy("models")
    for model in (MODEL, EARLY):
        write_model(write / model)
    for judge in (JUDGE, SECOND_JUDGE):
        write_judge(write / judge)
    for count in (1, 2):
        folder = shutil.copytree(write, write.with_name(f"in {count}"))
        assert in_processes(count, folder, run_stage, name) == [0] * count, errors(folder, count)
        found.append(results(folder))
    assert found[0].keys() == found[1].keys()
    assert [path for path in found[0] if found[0][path] != found[1][path]] == []


# how they come together


def agent_of(program):
    """Be a stage whose command is this program, in two processes."""
    sys.orig_argv = [sys.executable, "-c", program]
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        del os.environ[name]
    together.run_in_processes(2)


def told_by_agent_of(program):
    """The same, and tell what it raises."""
    try:
        agent_of(program)
    except (OSError, KeyboardInterrupt) as error:
        sys.exit(f"{type(error).__name__} {error}")


SAY = "import os; open(os.environ['RANK'], 'w').write(' '.join(os.environ[n] for n in {names!r}));"


def test_a_stage_starts_its_processes_on_this_machine_alone(in_processes, tmp_path):
    names = ("WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "OMP_NUM_THREADS")
    assert in_processes(1, tmp_path, agent_of, SAY.format(names=names)) == [0]
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["2 127.0.0.1 stage 1"] * 2
    assert errors(tmp_path, 1) == [[]]


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("sys.exit(f'error: of process {rank}') if rank == 1 else signal.pause()", "error: of process 1"),
        (
            "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else signal.pause()",
            "ChildProcessError process 1 of 2 was killed by SIGKILL (SIGKILL by nobody known: memory ran out)",
        ),
        ("os.kill(os.getppid(), signal.SIGTERM) if rank == 1 else 0; signal.pause()", "KeyboardInterrupt "),
        ("os._exit(130)", "KeyboardInterrupt "),
    ],
    ids=["an error", "a kill", "an interruption of the stage", "an interruption of its processes"],
)
def test_the_end_of_one_is_the_end_of_all_in_one_line(in_processes, tmp_path, work, told):
    """The other waits for ever."""
    program = f"import os, signal, sys; rank = int(os.environ['RANK']); open(f'{{os.getpid()}}.pid', 'w'); {work}"
    assert in_processes(1, tmp_path, told_by_agent_of, program) == [1]
    assert errors(tmp_path, 1) == [[told]]
    for path in tmp_path.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.stem), 0)


def dvc_that_is_killed():
    """Start a stage of two processes, as DVC does, and die once they are there."""
    if os.fork():
        wait_until(lambda: len(list(Path().glob("*.pid"))) == 2, "two processes")
        os.kill(os.getpid(), signal.SIGKILL)
    os.environ["DVC_STAGE"], start.PARENT = "train", os.getppid()
    with interruptible("advice"):
        agent_of("import os, signal; open(f'{os.getpid()}.pid', 'w'); signal.pause()")


def test_no_process_outlives_the_dvc_of_its_stage(in_processes, tmp_path):
    assert in_processes(1, tmp_path, dvc_that_is_killed) == [-signal.SIGKILL]
    wait_until(lambda: errors(tmp_path, 1) == [["stopped, because DVC has ended; advice"]], "the stage's last line")
    for path in tmp_path.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.stem), 0)


@pytest.mark.parametrize("taken", [True, False], ids=["a port that is taken", "a missing process"])
def test_what_keeps_processes_from_meeting_is_told_in_a_line(monkeypatch, taken):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        if not taken:
            listening.close()
        variables = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(processes, "JOIN_SECONDS", 0.1)
        with pytest.raises(ValueError) as caught, processes.joined(CPU):
            pass
    line = str(caught.value)
    assert line.startswith(
        f"processes: the 2 that WORLD_SIZE asks for did not all meet at 127.0.0.1:{port} within 0.1 s"
    )
    assert "\n" not in line and ("EADDRINUSE" in line) == taken


def test_processes_are_one_for_every_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert [together.processes_of("auto", torch.device(name)) for name in ("cpu", "cuda", "mps")] == [1, 8, 1]
    assert together.processes_of(16, CPU) == 16
    with pytest.raises(ValueError, match=r"^processes: 16 is not possible on cuda \(allowed here: auto, or up to 8\)$"):
        together.processes_of(16, torch.device("cuda"))


def test_processes_on_a_device_that_only_one_can_use_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"^processes: 2 is not possible on mps \(allowed here: auto, or up to 1\)$"):
        together.processes_of(2, torch.device("mps"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    refusal = r"^device: mps is not possible in 2 processes \(allowed under torchrun: cpu, cuda\)$"
    with pytest.raises(ValueError, match=refusal), processes.joined(torch.device("mps")):
        pass


def test_by_torchrun_or_by_the_params_a_stage_gives_the_same_bytes(in_processes, copy):
    """As a user starts it: once by hand, and once by DVC's command with `processes: 2`."""
    one, by_hand, by_params = map(copy, ("one", "by hand", "by params"))
    in_processes(1, one, run_stage, "train")
    write_params(by_params, read_params(by_params) | {"processes": 2})
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
    ]
    commands = {by_hand: [*torchrun, "-m", *COMMANDS["train"]], by_params: [sys.executable, "-m", *COMMANDS["train"]]}
    started = [
        subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for folder, command in commands.items()
    ]
    for process in started:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0, output.decode()
    assert results(by_hand) == results(by_params) == results(one)
