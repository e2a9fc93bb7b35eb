"""Stage `benchmark` under a clock that counts calls of the network, so what it should show is known."""

from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from diffusion.denoiser import save_denoiser
from diffusion.nets.unet import UNet
from stages import benchmark
from stages.params.params import Params

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    *("timesteps=40", "sampling.ddim_steps=[30]", "sampling.eta_steps=[5]", "sampling.solver_steps=[5,25]"),
    *("sampling.num_steps=5", "benchmark.num_images=2"),
]


def test_seconds_and_overhead_are_those_of_the_calls_that_a_sampler_makes(tmp_path, monkeypatch):
    net = {"image_size": 8, "image_channels": 1, "num_classes": 3, "patch": 1, "channels": [8], "blocks": 1}
    net |= {"attention_heads": 0, "dropout": 0.0}
    description = {"net": net, "schedule": "linear", "timesteps": 40, "target": "v", "class_names": ["a", "b", "c"]}
    save_denoiser(tmp_path / "model.safetensors", UNet(**net).state_dict(), description)
    calls = []

    @contextmanager
    def counting(device):
        before, elapsed = len(calls), []
        yield elapsed
        elapsed.append(len(calls) - before)

    monkeypatch.setattr(benchmark, "stopwatch", counting)
    params = Params.load(ROOT).changed(SMALL)
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: calls.append(1) if isinstance(module, UNet) else None
    )
    with hook:
        benchmark.main(params, model=tmp_path / "model.safetensors", results=tmp_path)
    rows = pd.read_csv(tmp_path / "timing.csv")
    assert (rows["seconds"] == rows["calls"]).all() and (rows["overhead"] == 1).all()
    heun = rows["sampler"] == "heun"
    assert (rows["calls"] == rows["steps"])[~heun].all() and (rows["calls"] == 2 * rows["steps"] - 1)[heun].all()
