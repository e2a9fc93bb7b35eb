"""Every network that a denoiser can have: built by name, and unconditional for its null label."""

import pytest
import torch

from diffusion.nets.table import NETS, build_net

ARGUMENTS = {"image_size": 8, "image_channels": 1, "num_classes": 3, "patch": 1, "channels": [8, 16], "blocks": 1}
ARGUMENTS |= {"attention_heads": 2, "dropout": 0.0}


@pytest.mark.parametrize("name", NETS)
def test_a_net_maps_images_to_images_and_takes_its_null_label(name):
    torch.manual_seed(0)
    net = build_net(ARGUMENTS | {"net": name}).eval()
    for parameter in net.parameters():  # blocks start as the identity, so that no label would count
        parameter.data += 0.02 * torch.randn_like(parameter)
    x, time = torch.randn(1, 1, 8, 8).expand(4, 1, 8, 8), torch.full((4,), 500.0)
    predictions = net(x, time, torch.tensor([0, 1, 2, net.null]))
    assert predictions.shape == x.shape and torch.pdist(predictions.flatten(1)).min() > 1e-4


def test_the_u_net_is_built_where_no_name_is_given_and_other_names_are_refused():
    assert type(build_net(ARGUMENTS)) is NETS["unet"]
    with pytest.raises(ValueError, match=r"^net: 'resnet' is unknown \(allowed: unet"):
        build_net(ARGUMENTS | {"net": "resnet"})
