"""The U-Net: maps an image, a time and a condition to an image. It knows nothing of noise schedules or targets."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.attention import Context, ContextAttention, SelfAttention, zero_weights

MAX_PERIOD = 10_000  # of the sines and cosines of a time, which runs from 0 to 1000


class UNet(nn.Module):
    """U-Net on patches, with time and class in every block (Ho et al. 2020, appendix B; Dhariwal & Nichol 2021).

    A class also has a learned map at every resolution, added where the way down arrives there: the modulation of a
    block can only say that an edge is wanted, a map can say where.

    `channels[i]` is the width at resolution image_size / patch / 2^i; each level has `blocks` residual blocks down and
    up, with one skip connection each, and only the coarsest level has attention (none if attention_heads = 0). Labels
    run from 0 to num_classes - 1, and if it was trained on `mirrored` images too, those of a class are labelled
    num_classes higher; the label after the last, `null`, is the null condition, "unconditional". With `context_dim`,
    every residual block of the coarsest level also attends to a context of tokens of that width. `output_channels`
    default to those of the image.

    Raises ValueError if image_size cannot be halved that often.
    """

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
        attention_heads: int,
        dropout: float,
        context_dim: int = 0,
        output_channels: int | None = None,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        coarsest = coarsest_side(image_size, patch, channels)
        self.null = 2 * num_classes if mirrored else num_classes
        self.patch = patch
        widths = list(channels)
        embedding = 4 * widths[0]
        self.time = TimeEmbedding(embedding)
        self.label = nn.Embedding(self.null + 1, embedding)

        def block(inputs: int, outputs: int, level: int) -> ResidualBlock:
            attended = context_dim if level == len(widths) - 1 else 0
            return ResidualBlock(inputs, outputs, embedding, dropout, attended, attention_heads)

        self.stem = nn.Conv2d(image_channels * patch**2, widths[0], 3, padding=1)
        sides = [coarsest * 2**level for level in reversed(range(len(widths)))]
        self.maps = nn.ModuleList(LabelMap(self.null + 1, *shape) for shape in zip(widths, sides, strict=True))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            self.down.extend(block(width, width, level) for _ in range(blocks))
            if level < len(widths) - 1:
                self.down.append(Downsample(width, widths[level + 1]))
        attention = SelfAttention(width, attention_heads) if attention_heads else nn.Identity()
        self.middle = nn.ModuleList([block(width, width, level), attention, block(width, width, level)])
        for level, width in reversed(list(enumerate(widths))):
            self.up.extend(block(2 * width, width, level) for _ in range(blocks))
            if level:
                self.up.append(Upsample(width, widths[level - 1]))
        outputs = (output_channels or image_channels) * patch**2
        self.head = nn.Sequential(
            nn.GroupNorm(1, width), nn.SiLU(), zero_weights(nn.Conv2d(width, outputs, 3, padding=1))
        )

    def forward(self, x: Tensor, time: Tensor, label: Tensor, context: Context | None = None) -> Tensor:
        """The prediction (B, C, H, W) for images x (B, C, H, W), times in [0, 1000] (B,), labels (B,) and a context."""
        condition = F.silu(self.time(time) + self.label(label))  # (B, E)
        first_map, *maps = self.maps
        h = self.stem(F.pixel_unshuffle(x, self.patch)) + first_map(label)  # (B, C0, H/patch, W/patch)
        skips = []
        for layer in self.down:
            h = layer(h, condition, context)
            if isinstance(layer, ResidualBlock):
                skips.append(h)
            else:
                h = h + maps.pop(0)(label)
        first, attention, second = self.middle
        h = second(attention(first(h, condition, context)), condition, context)  # (B, C[-1], coarsest, coarsest)
        for layer in self.up:
            h = torch.cat([h, skips.pop()], dim=1) if isinstance(layer, ResidualBlock) else h
            h = layer(h, condition, context)
        return F.pixel_shuffle(self.head(h), self.patch)  # (B, C, H, W)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, with the input of the second modulated by the condition; then attention to a context."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, dropout: float, context_dim: int = 0, heads: int = 0
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(1, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm2 = nn.GroupNorm(1, outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_weights(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attend = ContextAttention(outputs, context_dim, heads) if context_dim else None

    def forward(self, x: Tensor, condition: Tensor, context: Context | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, C', H, W)
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)  # (B, C', 1, 1) each
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        h = self.skip(x) + self.conv2(self.dropout(F.silu(h)))
        return h if self.attend is None else self.attend(h, context)


class LabelMap(nn.Module):
    """A map (C, side, side) for every label, at first zero."""

    def __init__(self, number: int, channels: int, side: int) -> None:
        super().__init__()
        self.shape = (side, side, channels)  # as convolutions like them in memory
        self.maps = nn.Parameter(torch.empty(number, math.prod(self.shape)))
        nn.init.zeros_(self.maps)

    def forward(self, label: Tensor) -> Tensor:
        return F.embedding(label, self.maps).unflatten(1, self.shape).permute(0, 3, 1, 2)  # (B, C, side, side)


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    def forward(self, x: Tensor, *_: Tensor | Context | None) -> Tensor:
        return self.conv(x)  # (B, C', H/2, W/2)


class Upsample(nn.Module):
    """Double the resolution by repetition and a convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, *_: Tensor | Context | None) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # (B, C', 2H, 2W)


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time at geometric frequencies, then two layers (Vaswani et al. 2017, section 3.5)."""

    frequency: Tensor  # (dim / 8,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 8
        self.register_buffer(
            "frequency", torch.exp(-math.log(MAX_PERIOD) * torch.arange(half) / half), persistent=False
        )
        self.layers = nn.Sequential(nn.Linear(2 * half, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor) -> Tensor:
        angle = time[:, None].float() * self.frequency  # (B, dim/8)
        return self.layers(torch.cat([angle.cos(), angle.sin()], dim=1))  # (B, dim)


def coarsest_side(image_size: int, patch: int, channels: Sequence[int]) -> int:
    """The side of an image once its patches are folded into channels and every level but the first has halved it.

    Raises ValueError if it cannot be halved that often.
    """
    divisor = patch * 2 ** (len(channels) - 1)
    if image_size % divisor:
        raise ValueError(
            f"patch {patch}, channels {list(channels)}: images of {image_size}x{image_size} cannot be divided by "
            f"{divisor} (allowed: a patch and a number of levels where patch * 2^(levels - 1) divides the side)"
        )
    return image_size // divisor
