"""The diffusion transformer: shapes that come back, conditions and places that count, order that does not."""

import pytest
import torch
from torch.nn import functional as F

from diffusion.data import to_float
from diffusion.denoiser import Denoiser, load_denoiser, save_denoiser
from diffusion.loss import denoising_loss
from diffusion.nets.dit import Block, DiT, normed, positions
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser

TIMES = torch.tensor([3.0, 200.0, 600.0, 999.0])
LABELS = torch.tensor([0, 5, 10, 3])


def new(image_size=8, image_channels=1, patch=2, width=16, depth=2, heads=2, dropout=0.0, **others):
    torch.manual_seed(0)
    return DiT(image_size, image_channels, 10, patch, width, depth, heads, dropout, **others)


def dit(*sizes, **named):
    """One whose blocks do something: layers that are zero at first would hide everything behind them."""
    net = new(*sizes, **named)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


@pytest.mark.parametrize(
    ("image_size", "image_channels", "patch"), [(28, 1, 4), (28, 3, 2), (32, 3, 4), (8, 1, 1), (9, 1, 3), (30, 1, 2)]
)
def test_the_output_has_the_shape_of_the_input(image_size, image_channels, patch):
    x = torch.randn(4, image_channels, image_size, image_size)
    assert dit(image_size, image_channels, patch)(x, TIMES, LABELS).shape == x.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30, "patch": 4}, "^patch: 4 does not divide images of 30x30"),
        ({"heads": 5}, "^attention_heads: 5 does not divide a width of 16"),
        ({"width": 18}, "^width: 18 is not a multiple of 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_build(changes, message):
    with pytest.raises(ValueError, match=message):
        new(**changes)


def test_it_starts_as_zero_and_its_blocks_as_the_identity():
    net, x = new(), torch.randn(4, 1, 8, 8)
    assert not net(x, TIMES, LABELS).any()
    tokens, condition = torch.randn(4, 16, 16), torch.randn(4, 16)
    assert all(torch.equal(block(tokens, condition), tokens) for block in net.blocks)


def test_a_block_is_attention_and_an_mlp_each_modulated_and_gated():
    """Peebles & Xie 2023, figure 3, beside PyTorch's own attention and norm."""
    torch.manual_seed(0)
    block, outside = Block(16, 4, 0.0).eval(), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    torch.nn.init.normal_(block.modulation.weight, std=0.5)
    outside.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.out.weight,
            "out_proj.bias": block.out.bias,
        }
    )
    norm = torch.nn.LayerNorm(16, elementwise_affine=False)
    x, condition = torch.randn(3, 9, 16), torch.randn(3, 16)
    a, b, c, d, e, f = (part[:, None] for part in block.modulation(condition).chunk(6, dim=1))
    y = (1 + a) * norm(x) + b
    h = x + c * outside(y, y, y)[0]
    expected = h + f * block.mlp((1 + d) * norm(h) + e)
    assert (block(x, condition) - expected).abs().max() < 1e-5


def test_a_token_is_normed_on_its_own():
    x, zero = 5 + 3 * torch.randn(2, 4, 64), torch.zeros(2, 1, 64)
    y = normed(x, zero, zero)
    assert y.mean(dim=2).abs().max() < 1e-5 and (y.var(dim=2, correction=0) - 1).abs().max() < 1e-4


def test_a_sample_does_not_depend_on_its_batch_mates():
    net, x = dit().train(), torch.randn(4, 1, 8, 8)
    together = net(x, TIMES, LABELS)
    alone = torch.cat([net(x[i : i + 1], TIMES[i : i + 1], LABELS[i : i + 1]) for i in range(4)])
    assert (together - alone).abs().max() < 1e-4


def test_time_and_label_count_and_the_null_condition_is_a_class_of_its_own():
    net, x = dit(), torch.randn(1, 1, 8, 8)

    def output(time, label):
        return net(x, torch.tensor([time]), torch.tensor([label]))

    assert net.null == 10 and new(mirrored=True).null == 20
    outputs = [output(100.0, label) for label in range(11)] + [output(101.0, 0), output(900.0, 0)]
    for i, one in enumerate(outputs):
        assert all((one - other).abs().max() > 1e-6 for other in outputs[:i])
    with pytest.raises(IndexError):
        output(100.0, 11)


def test_every_patch_sees_every_other():
    net, x = dit(), torch.randn(4, 1, 8, 8)
    for row, column in ((0, 0), (0, 7), (5, 2)):
        changed = x.clone()
        changed[..., row, column] += 1
        difference = F.max_pool2d((net(x, TIMES, LABELS) - net(changed, TIMES, LABELS)).abs(), 2)
        assert (difference > 0).all()


def shuffled(x, order, patch=2):
    """Images (B, 1, H, W) with their patches, row by row, in another order."""
    patches = F.pixel_unshuffle(x, patch)
    return F.pixel_shuffle(patches.flatten(2)[:, :, order].view_as(patches), patch)


def test_without_places_patches_in_another_order_give_the_same_patches_in_that_order():
    net, x, order = dit(), torch.randn(4, 1, 8, 8), torch.randperm(16)
    assert (net(shuffled(x, order), TIMES, LABELS) - shuffled(net(x, TIMES, LABELS), order)).abs().max() > 0.1
    for places in (net.position, net.map.maps):
        torch.nn.init.zeros_(places)
    assert (net(shuffled(x, order), TIMES, LABELS) - shuffled(net(x, TIMES, LABELS), order)).abs().max() < 1e-4


@pytest.mark.parametrize(("side", "width"), [(7, 96), (14, 32), (4, 8)])
def test_the_products_of_positions_depend_on_the_distance_alone_and_are_largest_at_home(side, width):
    """cos a cos b + sin a sin b = cos(a - b), summed over frequencies, of rows and of columns."""
    place = positions(side, width).view(side, side, width)
    product = torch.einsum("ijd,kld->ijkl", place, place)
    assert torch.equal(place[2, :, : width // 2], place[2, :1, : width // 2].expand(side, -1))  # the row's half
    assert (product[0, 0, 1, 2] - product[1, 1, 2, 3]).abs() < 1e-4
    assert (product[0, 0, 1, 2] - product[2, 3, 1, 1]).abs() < 1e-4
    others = product.flatten(2).flatten(0, 1).clone()
    assert (others.diagonal() - width / 2).abs().max() < 1e-3
    assert others.fill_diagonal_(0).max() < width / 2 - 0.01


@pytest.fixture(scope="module")
def learned():
    """A denoiser trained on one image for each of two classes, a bar on the left and a bar at the top; the images."""
    bars = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    bars[0, ..., 1], bars[1, ..., 1, :] = 255, 255
    net = new(width=32, heads=4)
    denoiser = Denoiser(net, noise_schedule("linear", 100), "v")
    loss = denoising_loss(denoiser, dropout=0.1, times="cosine", weighting="none")
    learners = {"denoiser": Learner(net, loss, Optimiser(net.parameters(), 3e-3, 60), Ema(net, 0.9))}
    labels = torch.arange(32) % 2
    step = training_step(learners, bars[labels], labels, batch_size=32, seed=0, purpose="train", shards=2)
    assert len(list(fit(step, state_of(learners), 60, log_every=10))) == 6
    return denoiser, to_float(bars)


def test_it_draws_the_class_that_is_asked_for_where_it_belongs(learned):
    """From noise alone, so that nothing but label and place can tell what to draw."""
    denoiser, bars = learned
    noise = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 8, 8)
    with torch.no_grad():
        drawn = denoiser(noise, 99, torch.tensor([0, 1]))
    error = torch.cdist(drawn.flatten(1), bars.flatten(1))
    assert (error.diagonal() < 0.5 * error.flip(1).diagonal()).all()


def test_a_file_holds_all_of_it(learned, tmp_path):
    denoiser, _ = learned
    arguments = {"image_size": 8, "image_channels": 1, "num_classes": 10, "patch": 2, "width": 32, "depth": 2}
    description = {"net": {"kind": "dit", **arguments, "attention_heads": 4, "dropout": 0.0}, "schedule": "linear"}
    description |= {"timesteps": 100, "target": "v", "class_names": [str(k) for k in range(10)]}
    save_denoiser(tmp_path / "dit.safetensors", denoiser.net.state_dict(), description)
    loaded, _ = load_denoiser(tmp_path / "dit.safetensors", torch.device("cpu"), "fp32")
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x, 50, LABELS), denoiser(x, 50, LABELS))


def test_bf16_is_near_fp32():
    net, x = dit(width=32), torch.randn(4, 1, 8, 8)
    exact, rounded = (
        Denoiser(net, noise_schedule("linear", 100), "v", precision).predict(x, 50, LABELS)
        for precision in ("fp32", "bf16")
    )
    assert rounded.dtype == torch.float32 and 0 < (exact - rounded).abs().max() < 0.05 * exact.abs().max()
