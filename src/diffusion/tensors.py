"""Tensors and models on disk: safetensors with a JSON description, written atomically."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from diffusion.files import whole_file
from diffusion.mapping import LARGE, blocks_of, bytes_of
from diffusion.memory import is_shortage

DESCRIPTION = "description"
MAX_HEADER_BYTES = 2**24  # of a .safetensors file: names, shapes and the description
MAX_NUMBER = 2**20  # in the description of a model: whatever it builds besides weights stays small

Tensors = dict[str, Tensor]
Description = dict[str, Any]  # JSON
Model = TypeVar("Model")
Net = TypeVar("Net", bound=nn.Module)


def save_tensors(path: Path, tensors: Tensors, description: Description) -> None:
    """Write tensors and a JSON-serialisable description. Raises OSError as `whole_file` does."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as partial, open(partial, "wb") as file:
        save_file(contiguous, file, {DESCRIPTION: json.dumps(description, sort_keys=True)})
        partial.chmod(0o644)


def save_file(tensors: Tensors, file: BinaryIO, metadata: dict[str, str]) -> None:
    """Write contiguous tensors on the CPU: the bytes that `safetensors.torch.save_file` writes, block by block, so that
    tensors which are mapped need not fit into memory."""
    empty = {name: torch.empty(0, dtype=tensor.dtype) for name, tensor in tensors.items()}
    header = json.loads(save(empty, metadata)[8:])  # in the order of the file, with the names of the dtypes
    names = [name for name in header if name in tensors]
    last = 0
    for name in names:
        first, last = last, last + tensors[name].nbytes
        header[name] |= {"shape": list(tensors[name].shape), "data_offsets": [first, last]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        for block in blocks_of(tensors[name].view(-1).view(torch.uint8)):
            file.write(block.numpy().data)


def load_tensors(path: Path) -> tuple[Tensors, Description]:
    """Read what `save_tensors` wrote, onto the CPU.

    Raises ValueError if the file is missing, damaged, not one of this project, or holds NaN or infinity, and the error
    itself where memory runs out.
    """
    with _readable(path, "a .safetensors file of this project"):
        tensors, metadata = _read(path)
        description = json.loads(metadata[DESCRIPTION])
    if not isinstance(description, dict):
        raise ValueError(f"{path}: not a .safetensors file of this project (its description is not a JSON object)")
    _refuse_not_finite(path, tensors)
    return tensors, description


def load_weights(path: Path) -> Tensors:
    """Read the weights in a .safetensors file from elsewhere, onto the CPU. Raises ValueError as `load_tensors`."""
    with _readable(path, "a .safetensors file"):
        tensors, _ = _read(path)
    _refuse_not_finite(path, tensors)
    return tensors


def save_model(path: Path, kind: str, tensors: Tensors, description: Description) -> None:
    """Write the weights of a model of a `kind` (denoiser, vae, ...) with a description of how to build it."""
    save_tensors(path, tensors, {"kind": kind, **description})


def load_model(path: Path, kind: str, build: Callable[[Tensors, Description], Model]) -> tuple[Model, Description]:
    """Build a model from what `save_model` wrote; returns it with its description.

    Raises ValueError if the file is not readable (see `load_tensors`), holds a model of another kind, or if `build`
    finds that its weights and its description do not fit together (see `fitted`).
    """
    tensors, description = load_tensors(path)
    if description.get("kind") != kind:
        raise ValueError(f"{path}: holds {description.get('kind')!r:.80} (expected {kind!r})")
    with fitted(path, tensors, description):
        return build(tensors, description), description


def class_names_of(description: Description) -> list[str]:
    """The names of the classes that a model was made for. Raises ValueError if there are none, or other things."""
    names = description["class_names"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names are not a list of texts")
    return names


def with_weights(net: Net, tensors: Tensors) -> Net:
    """Load weights into a network and return it. Raises RuntimeError if names or shapes differ."""
    net.load_state_dict(tensors)
    return net


@contextmanager
def fitted(path: Path, tensors: Tensors, description: Description) -> Iterator[None]:
    """Guard a block that builds a model from the description and tensors of a file.

    The model is stopped before it fills memory with more weights than the file holds. Raises ValueError in that case,
    for numbers that no model has, and for any error of the block: weights and description do not fit together.
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
    except Exception as error:  # a wrong description can break anything, and ask for any amount of memory
        raise ValueError(f"{path}: weights and description do not fit together ({one_line(error)})") from error
    finally:
        hook.remove()


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    """Guard a block that reads a file. Raises ValueError, one line, if it is missing or the block fails, and the error
    itself where memory runs out."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file (expected {expected})")
    try:
        yield
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:  # RecursionError is one of them
        if is_shortage(error):
            raise
        raise ValueError(f"{path}: not {expected}, or damaged ({one_line(error)})") from error


def _read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """All tensors of a file, and its metadata. Large ones of bytes are mapped: what is read of them is given back."""
    with open(path, "rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {header_bytes:,} bytes (allowed: up to {MAX_HEADER_BYTES:,})")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if large := [name for name, tensor in tensors.items() if tensor.dtype == torch.uint8 and tensor.nbytes >= LARGE]:
        content = bytes_of(path)[8:]
        places = json.loads(content[:header_bytes].numpy().tobytes())
        for name in large:
            first, last = places[name]["data_offsets"]
            tensors[name] = content[header_bytes:][first:last].view(tensors[name].shape)
    return tensors, metadata


def _refuse_not_finite(path: Path, tensors: Tensors) -> None:
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    broken = [name for name, tensor in floats.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{path}: NaN or infinity in {broken[0]!r} (allowed: finite values)")


def _largest(value: Any) -> float:
    """The largest absolute value of a number in nested JSON."""
    if isinstance(value, dict | list):
        return max(map(_largest, value.values() if isinstance(value, dict) else value), default=0)
    return abs(value) if isinstance(value, int | float) else 0


def one_line(error: Exception) -> str:
    """The message of an error as part of a line."""
    return " ".join(str(error).split())[:200]
