"""Attention over the positions of an image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Multi-head self-attention over the H * W positions, added to its input (Vaswani et al. 2017, eq. 1).

    Raises ValueError where the heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"model.attention_heads: {heads} does not divide {channels} channels")
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H*W, 3*C)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1)
        )  # (B, heads, H*W, C/heads)
        attended = attention(q, k, v)  # (B, heads, H*W, C/heads)
        return x + self.out(attended.transpose(2, 3).reshape(batch, channels, height, width))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over positions; q, k, v (B, heads, N, D) (Vaswani et al. 2017, eq. 1).

    On a CPU in fp32 also under bf16 autocast: PyTorch's backward pass in bf16 is several times slower there.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float())
