"""Tensors on disk: safetensors with a JSON description, written atomically; and a training's checkpoints in them."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffusion.files import whole_file

DESCRIPTION = "description"


def save_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON-serialisable description. Raises OSError as `whole_file` does."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as partial:
        try:
            save_file(contiguous, partial, {DESCRIPTION: json.dumps(description, sort_keys=True)})
        except SafetensorError as error:
            raise _as_os_error(error) from error
        partial.chmod(0o644)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote, on the CPU. Raises ValueError for a file that is missing, damaged or not ours."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file (expected a .safetensors file of this project)")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            description = json.loads((file.metadata() or {})[DESCRIPTION])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a .safetensors file of this project, or damaged ({error})") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path}: not a .safetensors file of this project (its description is no object)")
    return tensors, description


@contextmanager
def described(path: Path, kind: str) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """`load_tensors` for a block that builds a model of a `kind` from what is in the file.

    Raises ValueError for a file of another kind, and where the block finds that weights and description do not fit.
    """
    tensors, description = load_tensors(path)
    if description.get("kind") != kind:
        raise ValueError(f"{path}: holds {description.get('kind')!r} (expected {kind!r})")
    try:
        yield tensors, description
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: weights and description do not fit together ({error})") from error


class Checkpoints:
    """The checkpoint of one training: saved now and then, restored when the same training starts again.

    `folder` belongs to one training: its name must say everything the result depends on (see `fingerprint`). One
    process at a time may train in it, and only as long as the process that started it lives. Use as a context
    manager: leaving it without an exception means the training is done, and removes the folder.
    """

    def __init__(self, folder: Path, seconds_between: float) -> None:
        self.path = folder / "last.safetensors"
        self.seconds_between = seconds_between
        self.seconds_before = 0.0
        self.start = self.last_save = time.monotonic()
        self.parent = os.getppid()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.path.with_name("lock"), "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{self.path.parent}: another process is at this very training (wait for it)") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            shutil.rmtree(self.path.parent)
        self.lock.close()

    @property
    def seconds(self) -> float:
        """Seconds spent in this training so far, those before an interruption included."""
        return self.seconds_before + time.monotonic() - self.start

    def restore(self, state: Mapping[str, Any]) -> list[list[Any]]:
        """Load the last checkpoint into `state` and return its history; [] where there is none."""
        if not self.path.exists():
            return []
        tensors, description = load_tensors(self.path)
        for name, part in state.items():
            part.load_state_dict(_unpack(description["state"][name], tensors))
        self.seconds_before = description["seconds"]
        return description["history"]

    def save_if_due(self, state: Mapping[str, Any], history: Sequence[Sequence[Any]]) -> None:
        """Write a checkpoint where the last one is old enough. Raises ValueError when the parent process is gone."""
        due = time.monotonic() - self.last_save >= self.seconds_between
        orphaned = os.getppid() != self.parent
        if due or orphaned:
            tensors: dict[str, Tensor] = {}
            structure = {name: _pack(part.state_dict(), name, tensors) for name, part in state.items()}
            save_tensors(self.path, tensors, {"state": structure, "history": history, "seconds": self.seconds})
            self.last_save = time.monotonic()
        if orphaned:
            raise ValueError("the process that started this training is gone: stopping, the checkpoint is kept")


def fingerprint(*parts: object, files: Iterable[Path] = ()) -> str:
    """A short name for everything a training depends on: JSON-serialisable parts and the bytes of files."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for path in sorted(files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _as_os_error(error: SafetensorError) -> Exception:
    """What the operating system said, which safetensors tells in words; the error itself where it said nothing."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else error


def _pack(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for a nested state, whose tensors go into `tensors` under `key`: the inverse of `_unpack`."""
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
