"""ONNX held against PyTorch: onnxruntime runs what was written."""

import json

import numpy as np
import pytest
import torch

from diffusion.denoiser import Denoiser
from diffusion.nets.table import build_net
from diffusion.runtime import freeze
from diffusion.schedule import cosine

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from diffusion.export.onnx import INPUTS, OPSET, write_onnx  # noqa: E402

NET = {
    "image_size": 8,
    "image_channels": 3,
    "num_classes": 2,
    "patch": 1,
    "channels": [8, 16],
    "blocks": 1,
    "attention_heads": 2,
    "dropout": 0.1,
}
DESCRIPTION = {
    "kind": "denoiser",
    "net": NET,
    "schedule": "cosine",
    "timesteps": 100,
    "target": "v",
    "class_names": ["a", "b"],
}


def restless(net: torch.nn.Module) -> torch.nn.Module:
    """A network without the zeros that it starts with, so that nothing of it is without effect."""
    torch.manual_seed(0)
    for weight in net.parameters():
        weight.data.normal_(std=0.2)
    return net


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser(freeze(restless(build_net(NET)), torch.device("cpu")), cosine(100), "v")


@pytest.fixture(scope="module")
def written(denoiser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    paths = {half: folder / f"{half}.onnx" for half in (False, True)}
    for half, path in paths.items():
        write_onnx(denoiser, DESCRIPTION, path, half)
    return paths


def inputs(batch: int) -> dict[str, torch.Tensor]:
    x_t = torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))
    return dict(zip(INPUTS, (x_t, torch.linspace(1, 1000, batch), torch.arange(batch) % 3), strict=True))


def difference(path, net, batch: int) -> float:
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = inputs(batch)
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    return float(np.abs(found - net(*given.values()).numpy()).max())


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_network_computes_what_it_does_in_pytorch_at_any_batch_size(written, denoiser, batch):
    assert difference(written[False], denoiser.net, batch) < 1e-4


def test_half_is_the_network_with_its_weights_rounded_in_about_half_the_bytes(written, denoiser):
    rounded = build_net(NET).eval()
    rounded.load_state_dict({name: weight.half().float() for name, weight in denoiser.net.state_dict().items()})
    with torch.no_grad():
        assert difference(written[True], rounded, 3) < 1e-4
    assert 1e-5 < difference(written[True], denoiser.net, 3) < 1e-2
    weights = sum(weight.numel() for weight in denoiser.net.parameters())
    full, half = (written[half].stat().st_size for half in (False, True))
    assert full - half > 1.5 * weights


@pytest.mark.parametrize("half", [False, True])
def test_a_file_is_valid_and_says_its_opset_and_which_model_it_is_and_nothing_of_this_machine(written, half):
    model = onnx.load(written[half])
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    (stored,) = model.metadata_props
    assert stored.key == "description" and json.loads(stored.value) == DESCRIPTION
    assert b".py" not in written[half].read_bytes()
