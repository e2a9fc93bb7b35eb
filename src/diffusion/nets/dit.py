"""The diffusion transformer: maps an image, a time and a class to an image, by attention between its patches."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.attention import attention, split_heads, zero_weights
from diffusion.nets.unet import LabelMap, TimeEmbedding

MLP_RATIO = 4  # of the hidden width of a block's MLP to the width (Vaswani et al. 2017, section 3.3)
LONGEST = 2  # periods of a position's sines and cosines run from this many images down to two patches


class DiT(nn.Module):
    """Transformer on patches, with time and class in every block (Peebles & Xie 2023, section 3.2: DiT, adaLN-Zero).

    Each patch is a token of `width` features. It knows its place by an embedding, which starts as sines and cosines of
    row and column and is learned from there on, and by a learned map for every class, at first zero, as in the U-Net.
    Each of `depth` blocks attends among all tokens with `attention_heads` heads. Labels, `mirrored` and `null` are as
    in the U-Net.

    Raises ValueError if the patch does not divide image_size, or 4 or the heads do not divide the width.
    """

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        patch: int,
        width: int,
        depth: int,
        attention_heads: int,
        dropout: float,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        if image_size % patch:
            raise ValueError(f"patch: {patch} does not divide images of {image_size}x{image_size}")
        self.null = 2 * num_classes if mirrored else num_classes
        self.patch, self.side = patch, image_size // patch
        self.time = TimeEmbedding(width)
        self.label = nn.Embedding(self.null + 1, width)
        self.stem = nn.Linear(image_channels * patch**2, width)
        self.position = nn.Parameter(positions(self.side, width))
        self.map = LabelMap(self.null + 1, width, self.side)
        self.blocks = nn.ModuleList(Block(width, attention_heads, dropout) for _ in range(depth))
        self.modulation = zero_weights(nn.Linear(width, 2 * width))
        self.head = zero_weights(nn.Linear(width, image_channels * patch**2))

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """The prediction (B, C, H, W) for images x (B, C, H, W), times in [0, 1000] (B,) and labels (B,)."""
        condition = F.silu(self.time(time) + self.label(label))  # (B, D)
        h = self.stem(tokens(F.pixel_unshuffle(x, self.patch)))  # (B, N, D)
        h = h + self.position + tokens(self.map(label))
        for block in self.blocks:
            h = block(h, condition)
        scale, shift = self.modulation(condition)[:, None].chunk(2, dim=-1)  # (B, 1, D) each
        h = self.head(normed(h, scale, shift))  # (B, N, C * patch^2)
        return F.pixel_shuffle(h.transpose(1, 2).unflatten(2, (self.side, self.side)), self.patch)  # (B, C, H, W)


class Block(nn.Module):
    """Self-attention and an MLP, each normed and modulated by the condition, and gated by it: at first the identity."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention_heads: {heads} does not divide a width of {width}")
        self.heads = heads
        self.modulation = zero_weights(nn.Linear(width, 6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(MLP_RATIO * width, width),
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)  # (B, 1, D)
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(normed(x, scale1, shift1)).chunk(3, dim=-1))
        attended = attention(q, k, v).transpose(1, 2).flatten(2)  # (B, N, D)
        x = torch.addcmul(x, gate1, self.out(attended))
        return torch.addcmul(x, gate2, self.mlp(normed(x, scale2, shift2)))


def tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C)."""
    return x.flatten(2).transpose(1, 2)


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Tokens x (B, N, D), each brought to mean 0 and variance 1, times 1 + scale, plus shift (B, 1, D)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


def positions(side: int, width: int) -> Tensor:
    """Sines and cosines (side^2, width) of each patch's row, in the first half, and of its column.

    Raises ValueError if 4 does not divide the width.
    """
    if width % 4:
        raise ValueError(f"width: {width} is not a multiple of 4")
    frequency = torch.logspace(math.log2(2 * math.pi / (LONGEST * side)), math.log2(math.pi), width // 4, base=2)
    angle = torch.arange(side)[:, None] * frequency  # (side, D/4)
    one = torch.cat([angle.sin(), angle.cos()], dim=1)  # (side, D/2)
    grid = torch.cat([one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)], dim=2)
    return grid.flatten(0, 1)
