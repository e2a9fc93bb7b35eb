"""The checkpoints of a training: saved at intervals, restored when the same training starts again."""

import copy
import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import safetensors.torch
import torch
from torch import Tensor

from diffusion import processes
from diffusion.tensors import load_tensors, save_tensors

KEPT_CHECKPOINTS = 2  # of a training: the last, and the one before it
KEPT_FOLDERS = 16  # of unfinished trainings
warn = logging.getLogger(__name__).warning


class Checkpoints:
    """The checkpoints of one training: saved at intervals, restored when the same training starts again.

    `folder` belongs to one training: its name must identify everything the result depends on (see `fingerprint`). One
    process at a time may train in it. Use as a context manager: leaving it without an exception means that the training
    is finished, and removes the folder. A signal handler or another thread may set `interrupted` to end the training
    behind a checkpoint of its current step.

    Of several processes the first keeps the checkpoints, and all restore what it reads; an interruption of one of them
    ends all behind the same step.

    The last two checkpoints are kept, each named by its number of steps and the digest of its bytes. Folders of
    abandoned trainings are removed as well: besides this one, the `KEPT_FOLDERS` most recently modified stay.
    """

    def __init__(self, folder: Path, seconds_between: float) -> None:
        self.folder = folder
        self.seconds_between = seconds_between
        self.seconds_before = 0.0
        self.start = self.last_save = time.monotonic()
        self.interrupted = threading.Event()

    def __enter__(self) -> Self:
        if processes.rank() > 0:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.folder / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{self.folder}: another process is running this training (wait for it)") from error
        with suppress(FileNotFoundError):  # a training that finishes just now removes its folder itself
            _remove_old_folders(self.folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if processes.rank() > 0:
            return
        if kind is None:
            shutil.rmtree(self.folder)
        self.lock.close()

    @property
    def seconds(self) -> float:
        """Seconds spent in this training so far, those before an interruption included."""
        return self.seconds_before + time.monotonic() - self.start

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last checkpoint of the first process, or this is the last chance to
        save one: the same in all processes, which must all ask."""
        late = processes.rank() == 0 and time.monotonic() - self.last_save >= self.seconds_between
        found = processes.largest(2 if self.interrupted.is_set() else int(late))
        if found == 2:
            self.interrupted.set()
        return found > 0

    def newest_first(self) -> list[Path]:
        """The checkpoints that can be restored, judging by their names."""
        return sorted(self.folder.glob("*.safetensors"), reverse=True)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load the newest checkpoint into `state`, which stays as it is if there is none.

        A damaged one is set aside under another name, with a warning, and the one before it is used.
        """
        if processes.rank() == 0:
            self._restore(state)
        if processes.count() > 1:
            _adopt(state)

    def _restore(self, state: Mapping[str, Any]) -> None:
        fresh = copy.deepcopy({name: part.state_dict() for name, part in state.items()})
        for path in self.newest_first():
            try:
                if _digest(path) != path.suffixes[0][1:]:
                    raise ValueError("its bytes are not those that were written")
                tensors, description = load_tensors(path)
                for name, part in state.items():
                    part.load_state_dict(_unpack(description["state"][name], tensors))
                self.seconds_before = float(description["seconds"])
                return
            except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
                path.rename(f"{path}.damaged")
                reason = " ".join(str(error).split())[:200]
                warn(
                    "%s: damaged (%s), set aside: resuming from the checkpoint before it, or from the start",
                    path,
                    reason,
                )
                for name, part in state.items():
                    part.load_state_dict(fresh[name])

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Write a checkpoint after `step` steps; a crash at any moment leaves the earlier ones intact.

        Raises KeyboardInterrupt, after writing the checkpoint, if `interrupted` is set.
        """
        if processes.rank() == 0:
            with processes.alone():
                self._write(state, step)
        processes.meet()
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def _write(self, state: Mapping[str, Any], step: int) -> None:
        tensors: dict[str, Tensor] = {}
        structure = {name: _pack(part.state_dict(), name, tensors) for name, part in state.items()}
        written = self.folder / "written"
        save_tensors(written, tensors, {"state": structure, "seconds": self.seconds})
        os.replace(written, self.folder / f"{step:08}.{_digest(written)}.safetensors")
        _flush_names(self.folder)
        for path in self.newest_first()[KEPT_CHECKPOINTS:]:
            path.unlink()
        self.last_save = time.monotonic()


def _adopt(state: Mapping[str, Any]) -> None:
    """Give every process the state of the first."""

    def of_first() -> tuple[Tensor, ...]:
        tensors: dict[str, Tensor] = {}
        structure = {name: _pack(part.state_dict(), name, tensors) for name, part in state.items()}
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        texts = json.dumps(structure).encode(), safetensors.torch.save(contiguous)
        return tuple(torch.frombuffer(bytearray(text), dtype=torch.uint8) for text in texts)

    structure, tensors = (part.numpy().tobytes() for part in processes.from_first(of_first))
    packed, values = json.loads(structure), safetensors.torch.load(tensors)
    for name, part in state.items():
        part.load_state_dict(_unpack(packed[name], values))


def _remove_old_folders(current: Path) -> None:
    """Remove all folders beside `current` except the most recently modified and those that a process trains in."""
    others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    for folder in sorted(others, key=os.path.getmtime, reverse=True)[KEPT_FOLDERS:]:
        with suppress(OSError), open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def _flush_names(folder: Path) -> None:
    """Wait until the names of the files in a folder are on disk; `fsync` of a file does not include its name."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _digest(path: Path) -> str:
    return _sha256(path).hex()[:16]


def _sha256(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def fingerprint(*parts: object, files: Iterable[Path] = ()) -> str:
    """A short name that identifies everything a training depends on: JSON-serialisable parts and the bytes of files."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for path in sorted(files):
        digest.update(_sha256(path))
    return digest.hexdigest()[:16]


def _pack(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    """Return a nested state as JSON and put its tensors into `tensors` under `key`: the inverse of `_unpack`."""
    if isinstance(value, Tensor):
        tensors[key] = value
        return {"tensor": key}
    if isinstance(value, Mapping):
        return {"items": [[k, _pack(v, f"{key}.{k}", tensors)] for k, v in value.items()]}
    return {"value": value}


def _unpack(packed: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    if "tensor" in packed:
        return tensors[packed["tensor"]]
    if "items" in packed:
        return {k: _unpack(v, tensors) for k, v in packed["items"]}
    return packed["value"]
