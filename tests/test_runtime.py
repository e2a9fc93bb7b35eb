"""What stands beside every timing."""

import platform

import torch

from diffusion.runtime import LIBRARIES, describe_machine, pick_precision

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
