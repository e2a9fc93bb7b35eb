"""The machine: which device, which precision, what it is, and its clock."""

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

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
FEATURES = ("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "sve", "bf16")  # that choose other kernels
LIBRARIES = ("torchvision", "numpy", "scipy", "scikit-learn", "pillow", "pandas", "matplotlib", "safetensors")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
Net = TypeVar("Net", bound=nn.Module)


def pick_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `mps`; `auto` takes the fastest one there is.

    Raises ValueError for a device that this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(["auto", *(device for device, is_there in available.items() if is_there)])
        raise ValueError(f"device: {name!r} is not available on this machine (allowed here: {there})")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` takes bf16 where the hardware multiplies matrices in it.

    That is a GPU with bf16, or a processor with AVX512-BF16 (training measured 1.4 times faster) or AMX.
    """
    if name != "auto":
        return name
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a network is called: weights stay fp32, convolutions and products run in `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def frozen(net: Net, device: torch.device) -> Net:
    """The network itself, on its device and in its layout, as it is used once trained: no dropout, no gradients."""
    return net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def prepare_machine(device: torch.device) -> None:
    """Settings of the process that every stage wants: no subnormal numbers (slow), freed memory is kept, TF32 where a
    GPU has it."""
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def describe_machine(device: torch.device, precision: str) -> dict[str, str | int]:
    """What could explain a different clock or a different last digit: goes beside every timing."""
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
    """Largest resident size of this process so far in MiB (GPU memory is not in it)."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked: a clock without it measures the asking."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def stopwatch(device: torch.device) -> Iterator[list[float]]:
    """Seconds spent in the block, device included, as the single entry of the list that it yields."""
    elapsed: list[float] = []
    synchronize(device)
    start = time.perf_counter()
    yield elapsed
    synchronize(device)
    elapsed.append(time.perf_counter() - start)


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors: handed back to the system and fetched again in every call of
    a network, it took a tenth of the time of sampling. Does nothing where the C library is not GNU's."""
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
