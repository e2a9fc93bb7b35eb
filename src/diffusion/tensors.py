"""Tensors on disk: safetensors with a JSON description, written atomically."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from diffusion.files import whole_file

DESCRIPTION = "description"


MAX_HEADER_BYTES = 2**24  # of a .safetensors file: names, shapes and the description


MAX_NUMBER = 2**20  # in the description of a model: what it builds beside its weights stays small


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


def _as_os_error(error: SafetensorError) -> Exception:
    """What the operating system said, which safetensors tells in words; the error itself where it said nothing."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else error
