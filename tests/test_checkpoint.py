"""Checkpoints: two of them, each whole or not there, none that is damaged, and no more folders than are of use."""

import itertools
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_failures import rewritten, without_a_tensor

from diffusion import tensors as tensors_on_disk
from diffusion.tensors import load_tensors, save_tensors
from diffusion.training import checkpoints as checkpoint
from diffusion.training.checkpoints import KEPT_FOLDERS, Checkpoints


class Part:
    """Something with a state: two tensors, of which the second is refused where its shape is another."""

    def __init__(self, value=0.0):
        self.net = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(self.net.weight, value)
        torch.nn.init.constant_(self.net.bias, value)
        self.steps = int(value)

    def state_dict(self):
        return {"net": self.net.state_dict(), "steps": self.steps}

    def load_state_dict(self, state_dict):
        self.net.load_state_dict(state_dict["net"])
        self.steps = state_dict["steps"]

    def values(self):
        return {self.steps, *self.net.weight.flatten().tolist(), *self.net.bias.tolist()}


def saved(folder, number):
    """Checkpoints of 1, 2, ... steps, in which everything is the number of steps."""
    checkpoints = Checkpoints(folder, 0).__enter__()
    for step in range(1, number + 1):
        checkpoints.save({"part": Part(step)}, step)
    checkpoints.__exit__(InterruptedError, None, None)
    return checkpoints


def restored(folder):
    part = Part()
    with pytest.raises(InterruptedError), Checkpoints(folder, 0) as checkpoints:
        checkpoints.restore({"part": part})
        raise InterruptedError
    (value,) = part.values()  # else half of it is of another step
    return value


def test_the_last_two_are_kept_and_the_last_is_restored(tmp_path):
    paths = saved(tmp_path / "run", 5).newest_first()
    assert [path.name[:8] for path in paths] == ["00000005", "00000004"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(["lock", *(p.name for p in paths)])
    assert restored(tmp_path / "run") == 5


def flipped(path, share):
    """A byte, as far into the file as `share` says, with its lowest bit turned."""
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def with_its_digest(path):
    """The name that fits what is in the file, as if it had been written so."""
    return path.rename(path.with_name(f"{path.name[:8]}.{checkpoint._digest(path)}.safetensors"))


def other_shape(path):
    tensors, description = load_tensors(path)
    save_tensors(path, tensors | {"part.net.bias": torch.zeros(3)}, description)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    **{f"a bit flipped at {share}": lambda path, share=share: flipped(path, share) for share in (0, 0.2, 0.6, 0.9, 1)},
    "description is no JSON": lambda path: save_file(load_tensors(path)[0], path, {"description": "{"}),
    "description is empty": lambda path: rewritten(path, lambda _: {}),
    "state is a list": lambda path: rewritten(path, lambda d: d | {"state": []}),
    "a part is missing": lambda path: rewritten(path, lambda d: d | {"state": {}}),
    "seconds are a text": lambda path: rewritten(path, lambda d: d | {"seconds": "long"}),
    "a tensor less": without_a_tensor,
    "a tensor of another shape": other_shape,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("rename", [lambda path: None, with_its_digest], ids=["noticed by digest", "by content"])
def test_a_damaged_one_is_named_and_set_aside_and_the_one_before_it_restored(tmp_path, caplog, damage, rename):
    folder = tmp_path / "run"
    last, before = saved(folder, 2).newest_first()
    DAMAGE[damage](last)
    if rename is with_its_digest and damage in ("longer", *(d for d in DAMAGE if d.startswith("a bit"))):
        pytest.skip("only the digest can tell")
    rename(last)
    (last,) = set(folder.glob("*.safetensors")) - {before}
    assert restored(folder) == 1
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{last}: damaged (") and "\n" not in record.getMessage()
    assert not last.exists() and last.with_name(f"{last.name}.damaged").exists()
    assert restored(folder) == 1 and len(caplog.records) == 1

    DAMAGE[damage](before)
    rename(before)
    assert restored(folder) == 0  # anew, as it was built


class PowerCut(BaseException):
    """What no code can catch."""


@pytest.mark.parametrize("moment", range(20))
def test_a_crash_at_any_moment_of_writing_leaves_a_checkpoint(tmp_path, monkeypatch, moment):
    """Before and behind every call that changes the disk; the third checkpoint is the one that is not written."""
    saved(tmp_path / "run", 2)
    moments = itertools.count()

    def or_power_cut(function):
        def wrapped(*args, **kwargs):
            if next(moments) == moment:
                raise PowerCut
            result = function(*args, **kwargs)
            if next(moments) == moment:
                raise PowerCut
            return result

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(tensors_on_disk, "save_file", or_power_cut(tensors_on_disk.save_file))
        for module, name in ((os, "replace"), (os, "fsync"), (Path, "unlink"), (Path, "chmod")):
            patch.setattr(module, name, or_power_cut(getattr(module, name)))
        checkpoints = Checkpoints(tmp_path / "run", 0)
        try:
            with checkpoints:
                checkpoints.save({"part": Part(3)}, 3)
                raise InterruptedError
        except PowerCut:
            done = False
        except InterruptedError:
            done = True
    assert restored(tmp_path / "run") in ([3] if done else [2, 3])
    assert len(saved(tmp_path / "run", 4).newest_first()) == 2 and restored(tmp_path / "run") == 4
    assert done or moment < 19  # all moments are among these


def test_a_bit_that_never_reached_the_disk_is_noticed_in_a_file_that_reads_well(tmp_path, caplog):
    """Without the digest, a flipped bit in a weight would go on into the results."""
    last, _ = saved(tmp_path / "run", 2).newest_first()
    flipped(last, 1)
    load_tensors(last)
    assert restored(tmp_path / "run") == 1 and "bytes are not those that were written" in caplog.text


def test_one_training_at_a_time(tmp_path):
    with Checkpoints(tmp_path / "run", 0), pytest.raises(ValueError, match="another process is running this training"):
        Checkpoints(tmp_path / "run", 0).__enter__()


def test_a_training_that_is_interrupted_saves_and_stops(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", 1000)
    with pytest.raises(KeyboardInterrupt), checkpoints:
        assert not checkpoints.due
        checkpoints.interrupted.set()
        assert checkpoints.due
        checkpoints.save({"part": Part(7)}, 7)
    assert restored(tmp_path / "run") == 7


def test_folders_of_trainings_that_never_went_on_do_not_pile_up(tmp_path):
    """The oldest go, but for one that a process is at; strangers are left alone."""
    (tmp_path / "notes.txt").write_text("mine")
    for number in range(KEPT_FOLDERS + 3):
        folder = tmp_path / f"run{number:02}"
        folder.mkdir()
        (folder / "lock").touch()
        os.utime(folder, (number, number))
    with Checkpoints(tmp_path / "run00", 0), Checkpoints(tmp_path / "new", 0):
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {"notes.txt", "new", "run00", *(f"run{n:02}" for n in range(3, KEPT_FOLDERS + 3))}


def test_the_end_removes_the_folder(tmp_path):
    saved(tmp_path / "run", 2)
    with Checkpoints(tmp_path / "run", 0):
        pass
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_tensors_and_json(tmp_path):
    last, _ = saved(tmp_path / "run", 2).newest_first()
    tensors, description = load_tensors(last)
    assert {*tensors} == {"part.net.weight", "part.net.bias"} and json.loads(json.dumps(description)) == description
