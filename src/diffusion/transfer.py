"""Copies to another device: of a batch, which nobody waits for, and of all data, which memory need not hold."""

import torch
from torch import Tensor

from diffusion.mapping import blocks_of


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on another device. A copy from the CPU to a GPU queues behind the work of the GPU: its source is in
    pinned memory, which PyTorch keeps until the copy is done."""
    if (x.device.type, device.type) != ("cpu", "cuda"):
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def all_sent(rows: Tensor, device: torch.device) -> Tensor:
    """Rows (N, ...) on another device, block by block where they leave the CPU: they may be mapped from a file."""
    if rows.device.type != "cpu" or device.type == "cpu":
        return rows.to(device)
    there, first = torch.empty_like(rows, device=device), 0
    for block in blocks_of(rows):
        there[first : first + len(block)] = block
        first += len(block)
    return there
