"""What stands beside every timing."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffusion import runtime
from diffusion.runtime import LIBRARIES, autocast, describe_machine, pick_precision

CPU = torch.device("cpu")


def test_the_machine_is_told_with_all_that_could_explain_a_difference():
    told = describe_machine(CPU, pick_precision("auto", CPU))
    assert told["precision"] in ("fp32", "bf16") and told["threads"] == torch.get_num_threads()
    assert told["device"].startswith("cpu (") and len(told["device"]) > len("cpu ()")
    assert told["python"] == platform.python_version() and told["torch"] == torch.__version__
    assert {"numpy", "scipy", "pillow", "safetensors"} < set(LIBRARIES) < set(told) and all(told.values())


def test_features_of_the_processor_explain_its_precision(monkeypatch):
    found = {"avx2": True, "avx512_f": True, "avx512_bf16": False, "cpu_name": "a processor"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert describe_machine(CPU, "fp32")["cpu_features"] == "avx2, avx512_f" and pick_precision("auto", CPU) == "fp32"
    found["avx512_bf16"] = True
    assert describe_machine(CPU, "bf16")["cpu_features"].endswith("avx512_bf16")
    assert pick_precision("auto", CPU) == "bf16"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other ways")
def test_freed_memory_is_not_fetched_from_the_system_again():
    """Page faults of a hundred times ten tensors of 4 MiB: a million without the setting, where chance will have it."""
    code = """if True:
        import resource, torch
        from diffusion.runtime import prepare_machine
        prepare_machine(torch.device("cpu"))
        for k in range(120):
            if k == 20:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            [torch.ones(2**20) for _ in range(10)]
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"""
    source = str(Path(runtime.__file__).parents[1])
    faults = subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": source}, text=True)
    assert int(faults) < 1000


def test_lanes_share_no_cache_of_converted_weights():
    """With the cache, three of ten trainings of the GAN ended with other weights than the rest."""
    with autocast(torch.device("cpu"), "bf16"):
        assert torch.is_autocast_enabled("cpu") and not torch.is_autocast_cache_enabled()
