"""The U-Net: shapes that come back, conditions that count, no mixing within a batch."""

import pytest
import torch

from diffusion.nets.unet import LabelMap, UNet


def unet(image_size=28, image_channels=1, num_classes=10, patch=2, channels=(16, 32), blocks=1, heads=4):
    torch.manual_seed(0)
    net = UNet(image_size, image_channels, num_classes, patch, channels, blocks, heads, dropout=0.0)
    for parameter in net.parameters():  # zero-initialised layers would hide everything behind them
        torch.nn.init.normal_(parameter, std=0.05)
    return net


@pytest.mark.parametrize(
    ("image_size", "image_channels", "patch", "channels"),
    [
        (28, 1, 2, (16, 32)),
        (28, 3, 1, (8, 16, 16)),
        (32, 1, 2, (8, 16, 16)),
        (32, 3, 4, (16, 32)),
        (8, 1, 1, (16, 16)),
        (8, 3, 2, (16,)),
    ],
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_output_has_the_shape_of_the_input(image_size, image_channels, patch, channels, blocks):
    net = unet(image_size, image_channels, patch=patch, channels=channels, blocks=blocks)
    x = torch.randn(2, image_channels, image_size, image_size)
    assert net(x, torch.tensor([1.0, 1000.0]), torch.tensor([0, 10])).shape == x.shape


@pytest.mark.parametrize(("size", "patch", "channels"), [(28, 2, (8, 8, 8, 8)), (28, 1, (8, 8, 8, 8)), (9, 1, (8, 8))])
def test_sizes_that_do_not_halve_are_refused_at_build(size, patch, channels):
    """28 -> 14 -> 7 -> 3 -> 6 does not come back to 28."""
    with pytest.raises(ValueError, match=rf"channels .*images of {size}x{size} cannot be divided by"):
        unet(size, patch=patch, channels=channels)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="^attention_heads: 5 does not divide 32"):
        unet(heads=5)


def test_a_sample_does_not_depend_on_its_batch_mates():
    """BatchNorm would mix noise levels, and the two halves of a guided batch."""
    net = unet().train()
    x, time, label = torch.randn(4, 1, 28, 28), torch.tensor([3.0, 200.0, 600.0, 999.0]), torch.tensor([0, 5, 10, 3])
    together = net(x, time, label)
    alone = torch.cat([net(x[i : i + 1], time[i : i + 1], label[i : i + 1]) for i in range(4)])
    assert (together - alone).abs().max() < 1e-4


def test_time_and_label_count_and_the_null_condition_is_a_class_of_its_own():
    net, x = unet(), torch.randn(1, 1, 28, 28)

    def output(time, label):
        return net(x, torch.tensor([time]), torch.tensor([label]))

    assert net.label.num_embeddings == 11 and net.null == 10
    outputs = [output(100.0, label) for label in range(11)] + [output(101.0, 0), output(900.0, 0)]
    for i, one in enumerate(outputs):
        assert all((one - other).abs().max() > 1e-6 for other in outputs[:i])
    with pytest.raises(IndexError):
        output(100.0, 11)


def test_attention_sees_all_positions():
    """One pixel of the coarsest level must reach the far corner, which convolutions here do not."""
    net = unet(image_size=64, channels=(8,), patch=4, blocks=1, heads=2)
    x = torch.randn(1, 1, 64, 64)
    changed = x.clone()
    changed[..., 0, 0] += 1
    time, label = torch.tensor([5.0]), torch.tensor([0])
    difference = (net(x, time, label) - net(changed, time, label))[..., -4:, -4:].abs().max()
    assert difference > 0


def test_the_map_of_a_label_is_zero_at_first_and_then_its_own_at_every_place():
    maps = LabelMap(3, 4, 5)
    assert not maps(torch.tensor([0, 2])).any()
    with torch.no_grad():
        maps.maps.copy_(torch.randn_like(maps.maps))
        shown = maps(torch.tensor([2, 0]))
    assert shown.shape == (2, 4, 5, 5)
    for row, label in enumerate((2, 0)):
        for place in (0, 7, 24):
            assert torch.equal(shown[row, :, place // 5, place % 5], maps.maps[label][4 * place : 4 * place + 4])
