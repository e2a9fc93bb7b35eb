"""Attention between the positions of an image, and from them to a context of tokens."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = TypeVar("Layer", bound=nn.Module)


class Context(NamedTuple):
    """A sequence of tokens to attend to, and a mask that excludes padding."""

    tokens: Tensor  # (B, M, D)
    mask: Tensor  # (B, M), False for padding; at least one token per row is True


class SelfAttention(nn.Module):
    """Multi-head self-attention over the H * W positions, added to its input (Vaswani et al. 2017, eq. 1).

    Raises ValueError if the heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"attention_heads: {heads} does not divide {channels} channels")
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_weights(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H*W, 3*C)
        q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, dim=-1))  # (B, heads, H*W, C/heads)
        attended = attention(q, k, v)  # (B, heads, H*W, C/heads)
        return x + self.out(attended.transpose(2, 3).reshape(batch, channels, height, width))


class CrossAttention(nn.Module):
    """Multi-head attention from queries to a context; with the queries as context it is self-attention."""

    def __init__(self, query_dim: int, context_dim: int, heads: int = 8, dim_head: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(query_dim, heads * dim_head, bias=False)
        self.to_k = nn.Linear(context_dim, heads * dim_head, bias=False)
        self.to_v = nn.Linear(context_dim, heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, query_dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, query_dim) for queries x (B, N, query_dim)."""
        q = split_heads(self.to_q(x), self.heads)  # (B, heads, N, dim_head)
        k, v = (split_heads(to(context.tokens), self.heads) for to in (self.to_k, self.to_v))  # (B, heads, M, dim_head)
        attended = attention(q, k, v, context.mask[:, None, None, :])  # (B, heads, N, dim_head)
        return self.to_out(attended.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, context: Context) -> Tensor:
        """Attention weights (B, heads, N, M) of each query on each token, fp32, summing to 1 over M; 0 on padding."""
        q, k = (split_heads(part.float(), self.heads) for part in (self.to_q(x), self.to_k(context.tokens)))
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        return scores.masked_fill(~context.mask[:, None, None, :], -torch.inf).softmax(dim=-1)


class ContextAttention(nn.Module):
    """Cross-attention from the H * W positions of an image to a context, added to the image; initially zero.

    Raises ValueError if the heads do not divide the channels.
    """

    def __init__(self, channels: int, context_dim: int, heads: int) -> None:
        super().__init__()
        if not heads or channels % heads:
            raise ValueError(f"attention_heads: {heads} does not divide {channels} channels")
        self.norm = nn.GroupNorm(1, channels)
        self.cross = CrossAttention(channels, context_dim, heads, channels // heads)
        zero_weights(self.cross.to_out)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        positions = self.norm(x).flatten(2).transpose(1, 2)  # (B, H*W, C)
        return x + self.cross(positions, context).transpose(1, 2).unflatten(2, x.shape[2:])  # (B, C, H, W)


def zero_weights(layer: Layer) -> Layer:
    """Set the weights of a layer to zero and return it, so that a block that ends in it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads * D) -> (B, heads, N, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over positions; q, k, v (B, heads, N, D) (Vaswani et al. 2017, eq. 1).

    `mask` (B, 1, 1, M) is False for keys to ignore. On a CPU it runs in fp32 even under bf16 autocast, since PyTorch's
    backward pass in bf16 is several times slower there.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), mask)
