"""A stage ends within seconds of Ctrl-C, SIGTERM or the death of DVC, whatever it does: processes that are killed."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from pipeline import DEADLINE_SECONDS, ROOT
from test_failures import GO_BACK

from stages.shared import interruption, start
from stages.shared.interruption import held_back

STAGE = """
import signal, sys, threading
from concurrent.futures import ThreadPoolExecutor

from pathlib import Path

from stages.params import params
from stages.shared import command, interruption

interruption.GRACE_SECONDS = {grace}

class Params:
    load = lambda root: params.Params.load(Path({root!r}))

def wait():
    threading.Event().wait()

def wait_for_the_signal():
    print("begun", flush=True)
    wait()

def main(params: Params):
    {work}

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here
__spec__ = threading.__spec__
command.run(main)
"""
DVC = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
WORK = {  # what the main thread does, and whether it comes out of it
    "it waits": ("wait_for_the_signal()", True),
    "it leaves a worker busy": ("ThreadPoolExecutor(1).submit(wait); wait_for_the_signal()", True),
    "it waits for a worker": (
        """with ThreadPoolExecutor(1) as pool:
        pool.submit(wait)
        wait_for_the_signal()""",
        False,
    ),
    "it does not listen": (
        """while True:
        try:
            wait_for_the_signal()
        except KeyboardInterrupt:
            pass""",
        False,
    ),
}


def started(work, *wrapped, **environment):
    """A stage that does this work, once it has begun; `wrapped` is the program that runs it, if we do not."""
    work, comes_out = WORK[work]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            *wrapped,
            STAGE.format(root=str(ROOT), work=work, grace=0.1 if not comes_out else DEADLINE_SECONDS),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout.readline() == b"begun\n"
    return process


def last_line(process):
    """What is said last, once the process and all that it has started are gone."""
    return process.communicate(timeout=DEADLINE_SECONDS)[0].decode().splitlines()[-1]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("work", WORK)
def test_a_signal_ends_a_stage_in_one_line(work, by):
    process = started(work)
    process.send_signal(by)
    assert last_line(process) == f"interrupted{GO_BACK}" and process.returncode == 1


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("work", WORK)
def test_no_stage_outlives_its_dvc(work, by):
    dvc = started(work, DVC, DVC_STAGE="a stage")
    dvc.send_signal(by)
    assert last_line(dvc) == f"stopped, because DVC has ended{GO_BACK}"


def test_a_stage_started_by_hand_outlives_its_shell(monkeypatch):
    monkeypatch.setattr(start, "PARENT", os.getppid() + 1)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert not interruption.orphaned()
    monkeypatch.setenv("DVC_STAGE", "train")
    assert interruption.orphaned()


def test_a_stage_that_ends_by_itself_leaves_nothing_behind():
    before, threads = signal.set_wakeup_fd(-1), threading.active_count()
    with pytest.raises(ValueError), interruption.interruptible(""):
        assert threading.active_count() == threads + 1
        raise ValueError
    assert threading.active_count() == threads and signal.set_wakeup_fd(before) == -1


def test_what_is_held_back_comes_at_the_end_and_the_second_at_once(monkeypatch):
    before, interrupted, done = signal.signal(signal.SIGINT, signal.default_int_handler), threading.Event(), []
    try:
        with pytest.raises(KeyboardInterrupt), held_back(interrupted):
            assert not interrupted.is_set()
            signal.raise_signal(signal.SIGINT)
            assert interrupted.is_set()
            done.append("the end of the block")
        with pytest.raises(KeyboardInterrupt), held_back(threading.Event()):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("no end")
        assert done == ["the end of the block"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
