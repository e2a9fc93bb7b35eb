"""Tensors on disk: safetensors with a JSON description, written atomically; and a training's checkpoints in them."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

DESCRIPTION = "description"
MAX_HEADER_BYTES = 2**24  # of a .safetensors file: names, shapes and the description
MAX_NUMBER = 2**20  # in the description of a model: what it builds beside its weights stays small


def save_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON-serialisable description; the file is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, {DESCRIPTION: json.dumps(description, sort_keys=True)})
    partial.chmod(0o644)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote, on the CPU.

    Raises ValueError for a file that is missing, damaged or not ours, and for one that holds NaN or infinity.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file (expected a .safetensors file of this project)")
    try:
        with open(path, "rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {header_bytes:,} bytes, allowed are up to {MAX_HEADER_BYTES:,}")
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            description = json.loads((file.metadata() or {})[DESCRIPTION])
        floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
        broken = [name for name, tensor in floats.items() if not tensor.isfinite().all()]
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:  # RecursionError is one of them
        raise ValueError(f"{path}: not a .safetensors file of this project, or damaged ({_one_line(error)})") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path}: not a .safetensors file of this project (its description is no object)")
    if broken:
        raise ValueError(f"{path}: NaN or infinity in {broken[0]!r} (allowed: finite values)")
    return tensors, description


@contextmanager
def described(path: Path, kind: str) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """`load_tensors` for a block that builds a model of a `kind` from what is in the file: see `fitted`.

    Raises ValueError for a file of another kind, and where the block finds that weights and description do not fit.
    """
    tensors, description = load_tensors(path)
    if description.get("kind") != kind:
        raise ValueError(f"{path}: holds {description.get('kind')!r:.80} (expected {kind!r})")
    with fitted(path, tensors, description):
        yield tensors, description


@contextmanager
def fitted(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> Iterator[None]:
    """For a block that builds a model as a description in a file asks, with the tensors beside it.

    The model is stopped before it fills memory with more weights than the file holds. Raises ValueError for that, for
    numbers that no model has, and where the block finds that weights and description do not fit.
    """
    known: dict[tuple[nn.Module, str], int] = {}
    left = sum(tensor.numel() for tensor in tensors.values())

    def count(module: nn.Module, name: str, weight: Tensor) -> None:
        nonlocal left
        left += known.get((module, name), 0) - weight.numel()
        known[module, name] = weight.numel()
        if left < 0 or len(known) > len(tensors):
            raise ValueError("it asks for more weights than the file holds")

    hook = register_module_parameter_registration_hook(count)
    try:
        if _largest(description) > MAX_NUMBER:
            raise ValueError(f"it holds a number above {MAX_NUMBER:,}")
        yield
    except Exception as error:  # what a wrong description breaks is not a closed list
        raise ValueError(f"{path}: weights and description do not fit together ({_one_line(error)})") from error
    finally:
        hook.remove()


def _largest(value: Any) -> float:
    """The largest size of a number in nested JSON."""
    if isinstance(value, dict | list):
        return max(map(_largest, value.values() if isinstance(value, dict) else value), default=0)
    return abs(value) if isinstance(value, int | float) else 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


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
