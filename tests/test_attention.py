"""Attention over a context: as PyTorch's own, blind to padding, and what a text encoder makes of a caption."""

import pytest
import torch
from torch.nn import functional as F

from diffusion.latents.text import PAD, TextEncoder, TextUNet
from diffusion.nets.attention import Context, ContextAttention, CrossAttention
from diffusion.nets.unet import UNet

B, N, M, QUERY, CONTEXT, HEADS, HEAD = 3, 5, 7, 12, 10, 2, 4


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cross_attention():
    torch.manual_seed(0)
    return CrossAttention(QUERY, CONTEXT, HEADS, HEAD)


def context(mask=None):
    return Context(draw(B, M, CONTEXT, seed=1), torch.ones(B, M, dtype=torch.bool) if mask is None else mask)


def test_one_head_by_hand():
    """softmax(q k^T / sqrt(D)) v with weights that one can read: the scale, the transposes and the order of heads."""
    layer = CrossAttention(2, 2, heads=1, dim_head=2)
    with torch.no_grad():
        for linear in (layer.to_q, layer.to_k, layer.to_v, layer.to_out):
            linear.weight.copy_(torch.eye(2))
        layer.to_out.bias.zero_()
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    out = layer(torch.tensor([[[2.0, 0.0]]]), Context(tokens, torch.ones(1, 2, dtype=torch.bool)))
    share = 1 / (1 + torch.tensor(-2 / 2**0.5).exp())
    assert (out - torch.tensor([[[share, 1 - share]]])).abs().max() < 1e-6


@pytest.mark.parametrize("dim_head", [HEAD, QUERY // HEADS])
def test_cross_attention_is_pytorchs(dim_head):
    torch.manual_seed(0)
    layer = CrossAttention(QUERY, CONTEXT, HEADS, dim_head)
    inner = HEADS * dim_head
    mask = torch.arange(M) < torch.tensor([[7], [3], [1]])
    x, c = draw(B, N, QUERY), context(mask)
    weights = {"in_proj_weight": None, "in_proj_bias": None}
    expected, shares = F.multi_head_attention_forward(
        *(part.transpose(0, 1) for part in (layer.to_q(x), layer.to_k(c.tokens), layer.to_v(c.tokens))),
        inner,
        HEADS,
        **weights,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=layer.to_out.weight,
        out_proj_bias=layer.to_out.bias,
        key_padding_mask=~mask,
        use_separate_proj_weight=True,
        q_proj_weight=torch.eye(inner),
        k_proj_weight=torch.eye(inner),
        v_proj_weight=torch.eye(inner),
        average_attn_weights=False,
    )
    assert (layer(x, c) - expected.transpose(0, 1)).abs().max() < 1e-5
    assert (layer.weights(x, c) - shares).abs().max() < 1e-6


def test_padding_does_not_count():
    """Neither what stands in it nor how much of it there is."""
    layer, x = cross_attention(), draw(B, N, QUERY)
    mask = torch.arange(M) < 4
    padded = context(mask.expand(B, M))
    other = Context(torch.where(mask[:, None], padded.tokens, 100.0), padded.mask)
    short = Context(padded.tokens[:, :4], padded.mask[:, :4])
    assert torch.equal(layer(x, padded), layer(x, other))
    assert (layer(x, padded) - layer(x, short)).abs().max() < 1e-6
    assert layer.weights(x, padded)[..., 4:].abs().max() == 0
    assert (layer.weights(x, padded).sum(-1) - 1).abs().max() < 1e-6
    seen = Context(torch.where(torch.arange(M)[:, None] == 3, 100.0, padded.tokens), padded.mask)
    assert (layer(x, padded) - layer(x, seen)).abs().max() > 1e-3  # a token that counts does count


def test_over_an_image_it_starts_as_nothing_and_keeps_positions_in_place():
    torch.manual_seed(0)
    layer, x = ContextAttention(QUERY, CONTEXT, HEADS), draw(B, QUERY, 3, 4)
    assert torch.equal(layer(x, context()), x)
    torch.nn.init.normal_(layer.cross.to_out.weight)
    turned = layer(x.transpose(2, 3), context()).transpose(2, 3)
    assert (layer(x, context()) - turned).abs().max() < 1e-5 and (layer(x, context()) - x).abs().max() > 1e-2
    with pytest.raises(ValueError, match="^attention_heads: 5 does not divide 12"):
        ContextAttention(QUERY, CONTEXT, 5)


def text_unet():
    torch.manual_seed(0)
    text = TextEncoder(20, 8, width=16, layers=2, heads=4)
    net = TextUNet(text, UNet(7, 4, 0, 1, [16], 1, 4, 0.0, context_dim=text.width))
    for parameter in net.parameters():  # zero-initialised layers would hide everything behind them
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def test_a_captions_padding_does_not_change_the_image():
    net, x, time = text_unet(), draw(2, 4, 7, 7), torch.tensor([10.0, 900.0])
    tokens = torch.tensor([[3, 7, 1], [5, 2, PAD]])
    padded = F.pad(tokens, (0, 5), value=PAD)
    assert (net(x, time, tokens) - net(x, time, padded)).abs().max() < 1e-4
    alone = net(x[1:], time[1:], torch.tensor([[5, 2]]))
    assert (net(x, time, padded)[1:] - alone).abs().max() < 1e-4


def test_words_their_order_and_the_null_caption_count():
    net, x, time = text_unet(), draw(1, 4, 7, 7), torch.tensor([10.0])
    captions = [[3, 7, 1], [7, 3, 1], [3, 7, PAD], [PAD, PAD, PAD]]
    outputs = [net(x, time, torch.tensor([caption])) for caption in captions]
    assert all(output.isfinite().all() for output in outputs)
    for i, one in enumerate(outputs):
        assert all((one - other).abs().max() > 1e-3 for other in outputs[:i])
