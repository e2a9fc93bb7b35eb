"""Every network that a denoiser can have: built by name, and unconditional for its null label."""

from pathlib import Path

import pytest
import torch

from diffusion.data import Dataset
from diffusion.nets.table import NETS, build_net
from stages.params.params import Params
from stages.train import describe

ROOT = Path(__file__).resolve().parents[1]

ARGUMENTS = {"image_size": 8, "image_channels": 1, "num_classes": 3, "patch": 1, "attention_heads": 2, "dropout": 0.0}
OWN = {"unet": {"channels": [8, 16], "blocks": 1}, "dit": {"width": 16, "depth": 2}}


@pytest.mark.parametrize("kind", NETS)
def test_a_net_maps_images_to_images_and_takes_its_null_label(kind):
    torch.manual_seed(0)
    net = build_net(ARGUMENTS | OWN[kind] | {"kind": kind}).eval()
    for parameter in net.parameters():  # blocks start as the identity, so that no label would count
        parameter.data += 0.02 * torch.randn_like(parameter)
    x, time = torch.randn(1, 1, 8, 8).expand(4, 1, 8, 8), torch.full((4,), 500.0)
    predictions = net(x, time, torch.tensor([0, 1, 2, net.null]))
    assert predictions.shape == x.shape and torch.pdist(predictions.flatten(1)).min() > 1e-4


def test_the_u_net_is_built_where_no_name_is_given_and_other_names_are_refused():
    assert type(build_net(ARGUMENTS | OWN["unet"])) is NETS["unet"]
    with pytest.raises(ValueError, match=r"^kind: 'resnet' is unknown \(allowed: unet, dit\)"):
        build_net(ARGUMENTS | {"kind": "resnet"})


def net_of(*changes):
    """What the file of a model says of its network."""
    params = Params.load(ROOT).changed(changes)
    dataset = Dataset(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.arange(3), ("a", "b", "c"))
    return describe(params, dataset)["net"]


def test_the_file_of_a_model_names_what_its_kind_of_net_takes_and_nothing_of_other_kinds():
    data = {"image_size": 28, "image_channels": 1, "num_classes": 3, "mirrored": False}
    shared = {"attention_heads": 4, "dropout": 0.0}
    assert net_of() == data | shared | {"patch": 2, "channels": [32, 64], "blocks": 1}
    own = {"kind": "dit", "patch": 4, "width": 24, "depth": 3}
    assert net_of("model.kind=dit", "model.width=24", "model.depth=3") == data | shared | own


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("flips", ["false", "true"])
def test_what_the_file_says_builds_the_net(kind, flips):
    described = net_of(f"model.kind={kind}", f"train.flips={flips}")
    net = build_net(described)
    assert type(net) is NETS[kind] and net.null == (6 if flips == "true" else 3)
