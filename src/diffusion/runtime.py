"""The machine: its device and precision, its description, and a stopwatch."""

import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TypeVar

import torch
from torch import nn

# Of processors: these features decide which kernels run.
FEATURES = ("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "sve", "bf16")
LIBRARIES = ("torchvision", "numpy", "scipy", "scikit-learn", "pillow", "pandas", "matplotlib", "safetensors")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
Net = TypeVar("Net", bound=nn.Module)


def pick_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `mps`; `auto` picks the fastest one available.

    Raises ValueError for a device that this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, is_there in available.items() if is_there)
    if not available[name]:
        allowed = ", ".join(["auto", *(device for device, is_there in available.items() if is_there)])
        raise ValueError(f"device: {name!r} is not available on this machine (allowed here: {allowed})")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` picks bf16 where the hardware multiplies matrices in it.

    This holds for a GPU with bf16, and for a processor with AVX512-BF16 (training measured 1.4 times faster) or AMX.
    """
    if name != "auto":
        return name
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context to call a network in: weights stay fp32, convolutions and matrix products run in `precision`.

    Without PyTorch's cache of converted weights: all threads share it, so the last digits of what a lane computes would
    depend on when the others leave their contexts.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def place(net: Net, device: torch.device) -> Net:
    """Move a network to its device, its weights in the layout in which convolutions are fast, and return it."""
    return net.to(device).to(memory_format=torch.channels_last)


def freeze(net: Net, device: torch.device) -> Net:
    """Make a network ready for use after training and return it: on its device, without dropout and gradients."""
    return place(net, device).eval().requires_grad_(False)


def prepare_machine(device: torch.device) -> None:
    """Set up the process for heavy work: subnormal numbers (slow) become 0, freed memory is kept, and a GPU that has
    TF32 uses it."""
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def describe_machine(device: torch.device, precision: str) -> dict[str, str | int]:
    """Everything that could explain a different timing or a different last digit: stored beside every timing."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{device.type} ({_processor()})",
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count() or 1,
        "cpu_features": ", ".join(name for name in FEATURES if capabilities.get(name)),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in LIBRARIES},
    }


def peak_memory_mib() -> int:
    """Largest resident size of this process so far in MiB, without the memory of a GPU."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work: without this, a clock measures how fast work is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def stopwatch(device: torch.device) -> Iterator[list[float]]:
    """Yield a list whose single entry, after the block, is the seconds spent in it, including work on the device."""
    elapsed: list[float] = []
    synchronize(device)
    start = time.perf_counter()
    yield elapsed
    synchronize(device)
    elapsed.append(time.perf_counter() - start)


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors: returning it to the system and requesting it again in every
    call of a network took a tenth of the time of sampling. Does nothing unless the C library is GNU's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and platform.libc_ver()[0] == "glibc":
        mallopt(M_MMAP_THRESHOLD, 2**25)  # the largest that is allowed
        mallopt(M_TRIM_THRESHOLD, 2**30)


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
