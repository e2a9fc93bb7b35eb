"""Processes that share the work of one run, on one machine or several: started by torchrun, or by a stage itself.

Every process has the same data, weights and random numbers, does the items that fall to it, and gets the results of
all, in the order of the items. So each goes through the same program and knows the same as one process alone. Calls of
this module are where they meet: they must come in the same order in all, outside of any branch on the rank.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from diffusion.files import written_by_first
from diffusion.lanes import in_lanes

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}  # what carries tensors, by device
LOOPBACK = ("lo", "lo0")
JOIN_SECONDS = 300.0  # until all processes are there; what each imports may come from a slow disk
WAIT = timedelta(minutes=30)  # for the others at a meeting: the first may be writing
DTYPES = (torch.uint8, torch.int64, torch.float32, torch.float64)  # of what is exchanged
HEADER = 64  # numbers that describe a result: of each tensor its dtype, and its dimensions
ALIGNMENT = 8  # bytes
Item = TypeVar("Item")
Result = tuple[Tensor, ...]  # all on one device


class Left(ValueError):
    """Another process has ended, or cannot be reached."""


@dataclass(frozen=True)
class _Group:
    rank: int = 0
    count: int = 1
    store: Store | None = None


_group = _Group()


def rank() -> int:
    """The number of this process, from 0."""
    return _group.rank


def count() -> int:
    """How many processes share the work."""
    return _group.count


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """In the block this is one of the processes that torchrun's variables tell of, with a GPU of its own on `cuda`.

    Files are written by the first process (see `diffusion.files`). Raises ValueError if the processes do not find each
    other within JOIN_SECONDS, there are fewer GPUs than processes, or the device is one that only one process can use.
    """
    global _group
    number, local = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", 0))
    if device.type not in BACKENDS:
        allowed = ", ".join(BACKENDS)
        raise ValueError(f"device: {device} is not possible in {number} processes (allowed under torchrun: {allowed})")
    if os.environ.get("LOCAL_WORLD_SIZE") == str(number):  # all on this machine
        for name in (name for _, name in socket.if_nameindex() if name in LOOPBACK):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ValueError(f"processes: no GPU is left for process {local} of {torch.cuda.device_count()} GPUs")
        torch.cuda.set_device(local)
    store, me = _meeting_place(number)
    with _answered():
        dist.init_process_group(BACKENDS[device.type], store=store, rank=me, world_size=number, timeout=WAIT)
    _group = _Group(me, number, store)
    try:
        with written_by_first(me == 0, meet):
            yield
        dist.destroy_process_group()
    finally:
        _group = _Group()


@contextmanager
def alone() -> Iterator[None]:
    """In the block this process works for itself and waits for no other, as if there were none."""
    global _group
    before, _group = _group, _Group()
    try:
        yield
    finally:
        _group = before


def speaks_first(error: Exception) -> bool:
    """Whether this process is the first to ask, so that one tells what all run into."""
    try:
        return _group.store is None or _group.store.add("errors", 1) == 1
    except RuntimeError:  # the process that counts has ended: with a word of its own, or killed
        return isinstance(error, Left)


def spread(
    work: Callable[[Item], Result], items: Iterable[Item], number: int, device: torch.device, in_turn: bool = False
) -> Iterator[Result]:
    """Yield work(item) of `number` items in their order, in every process, each having done every n-th.

    A process does its items in lanes, or one after the other. A result is a tuple of tensors, which keep their bytes on
    the way: what follows from all of them does not depend on the number of processes. Work spreads no work itself.
    """
    mine, my_number = islice(items, rank(), None, count()), len(range(rank(), number, count()))
    found = map(work, mine) if in_turn else in_lanes(work, mine, my_number, device)
    if count() == 1:
        yield from found
        return
    for first in range(0, number, count()):
        yield from _gathered(next(found, ()))[: number - first]


def from_first(make: Callable[[], Result]) -> Result:
    """What the first process makes by itself, in all."""

    def made(_: None) -> Result:
        with alone():
            return make()

    (result,) = spread(made, [None], 1, torch.device("cpu"), in_turn=True)
    return result


def summed(parts: Result) -> Result:
    """The sums of tensors of one floating-point type over all processes, each shaped as before."""
    flat = torch.cat([part.reshape(-1) for part in parts])
    with _answered():
        dist.all_reduce(flat)
    pieces = flat.split([part.numel() for part in parts])
    return tuple(piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True))


def total(value: float) -> float:
    """The sum of the values of all processes."""
    if count() == 1:
        return value
    (sum_of_all,) = summed((torch.tensor(value, dtype=torch.float64),))
    return sum_of_all.item()


def largest(value: int) -> int:
    """The largest of the values that the processes give."""
    if count() == 1:
        return value
    values = torch.tensor([value])
    with _answered():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return int(values)


def meet() -> None:
    """Wait until all processes are here."""
    largest(0)


def _meeting_place(number: int) -> tuple[Store, int]:
    """Where the processes exchange addresses, once all have been there; and the rank of this one."""
    address = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
    patience = timedelta(seconds=JOIN_SECONDS)
    try:
        store, me, _ = next(rendezvous("env://", timeout=patience))
        store.set(f"present {me}", "")
        store.wait([f"present {other}" for other in range(number)], patience)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"processes: the {number} that WORLD_SIZE asks for did not all meet at {address} within {JOIN_SECONDS:g} s "
            f"(all must be started, and the port be free: {reason})"
        ) from error
    return store, me


def _gathered(result: Result) -> list[Result]:
    """The results of all processes by rank; () where one has none."""
    header = torch.zeros(HEADER, dtype=torch.int64)
    described = [len(result), *(result[0].is_cuda for _ in result[:1])]
    for tensor in result:
        described += [DTYPES.index(tensor.dtype), tensor.ndim, *tensor.shape]
    header[: len(described)] = torch.tensor(described)
    headers = torch.empty(count() * HEADER, dtype=torch.int64)
    with _answered():
        dist.all_gather_single(headers, header)
    layouts = [_Layout.of(numbers) for numbers in headers.view(count(), HEADER).tolist()]
    device = next(layout.device for layout in layouts if layout.tensors)
    size = max(layout.size for layout in layouts)
    own = torch.zeros(size, dtype=torch.uint8, device=device)
    for tensor, place in zip(result, layouts[rank()].places(), strict=True):
        own[place] = tensor.detach().contiguous().view(-1).view(torch.uint8)
    whole = torch.empty(count() * size, dtype=torch.uint8, device=device)
    with _answered():
        dist.all_gather_single(whole, own)
    return [layout.unpacked(part) for layout, part in zip(layouts, whole.view(count(), size), strict=True)]


@dataclass(frozen=True)
class _Layout:
    """Where the tensors of a result lie in a vector of bytes."""

    device: torch.device
    tensors: Sequence[tuple[torch.dtype, torch.Size]]

    @classmethod
    def of(cls, numbers: Sequence[int]) -> "_Layout":
        """From a header."""
        number, on_gpu, *rest = numbers
        tensors = []
        for _ in range(number):
            dtype, ndim, *rest = rest
            tensors.append((DTYPES[dtype], torch.Size(rest[:ndim])))
            rest = rest[ndim:]
        return cls(torch.device("cuda" if on_gpu else "cpu"), tensors)

    def places(self) -> Iterator[slice]:
        begin = 0
        for dtype, shape in self.tensors:
            size = shape.numel() * dtype.itemsize
            yield slice(begin, begin + size)
            begin += -(-size // ALIGNMENT) * ALIGNMENT

    @property
    def size(self) -> int:
        """Bytes, rounded up so that the next vector is aligned too."""
        last = max((place.stop for place in self.places()), default=0)
        return -(-last // ALIGNMENT) * ALIGNMENT

    def unpacked(self, part: Tensor) -> Result:
        pairs = zip(self.tensors, self.places(), strict=True)
        return tuple(part[place].view(dtype).view(shape) for (dtype, shape), place in pairs)


@contextmanager
def _answered() -> Iterator[None]:
    """Raise Left where the others do not answer."""
    try:
        yield
    except RuntimeError as error:
        raise Left("another process of this run has ended or does not answer") from error
