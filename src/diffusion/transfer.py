"""Copies to another device that nobody waits for."""

import torch
from torch import Tensor


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on another device. A copy from the CPU to a GPU queues behind the work of the GPU: its source is in
    pinned memory, which PyTorch keeps until the copy is done."""
    if (x.device.type, device.type) != ("cpu", "cuda"):
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
