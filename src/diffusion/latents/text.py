"""Encoders of text, whose tokens a U-Net attends to: a small one that is trained with it, or a frozen language model.

A caption is a row of token numbers, padded with 0 (`PAD`); the null caption, which stands for any image, is all PAD.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from diffusion.latents.pretrained import LanguageModel
from diffusion.nets.attention import Context, CrossAttention
from diffusion.transfer import sent

PAD = 0


class TextUNet(nn.Module):
    """A U-Net whose condition is a caption: net(x, time, tokens), with tokens (B, L)."""

    def __init__(self, text: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text, self.unet, self.null = text, unet, PAD
        assert isinstance(unet.null, int)
        self.no_class = unet.null

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        no_class = torch.full_like(tokens[:, 0], self.no_class)
        return self.unet(x, time, no_class, self.text(tokens))  # (B, C, H, W)


class TextEncoder(nn.Module):
    """Embeddings of words and of their positions, then pre-norm transformer layers (Vaswani et al. 2017).

    Every caption starts with a learned token, so that the null caption has one to attend to.
    """

    def __init__(self, vocabulary_size: int, max_tokens: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.words = nn.Embedding(vocabulary_size, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.zeros(1 + max_tokens, width))
        self.layers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Context:
        """The context (B, 1 + L, width) of captions (B, L)."""
        x = torch.cat([self.start.expand(len(tokens), 1, -1), self.words(tokens)], dim=1)  # (B, 1 + L, width)
        x = x + self.places[: x.shape[1]]
        mask = F.pad(tokens != PAD, (1, 0), value=True)  # (B, 1 + L)
        for layer in self.layers:
            x = layer(x, mask)
        return Context(self.norm(x), mask)


class TransformerLayer(nn.Module):
    """Self-attention over the tokens that are not padding, then an MLP on every token, each with a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CrossAttention(width, width, heads, width // heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, Context(h, mask))  # (B, L, width)
        return x + self.mlp(self.norm2(x))


class PretrainedEncoder(nn.Module):
    """The last hidden states of a frozen language model, which is no part of this module's weights.

    It is opened by the first caption, so that a network can be built without it. The context of a tensor is kept as
    long as the tensor lives: a sampler, which passes the same one in every step, waits for a GPU to read it once.
    """

    def __init__(self, width: int, language: Callable[[], LanguageModel]) -> None:
        super().__init__()
        self.width, self.language = width, language
        self.known = WeakTensorKeyDictionary()

    def forward(self, tokens: Tensor) -> Context:
        """The context (B, 2 + L, width) of captions (B, L), between the language model's own start and end."""
        found = self.known.get(tokens)
        if found is None:
            found = self.known[tokens] = self._context(tokens)
        return found

    def tabled(self, tokens: Tensor, device: torch.device) -> tuple["TabledEncoder", Tensor]:
        """An encoder of the captions in tokens (N, L) alone, on a device, and the number (N, 1) that each has there.

        For a training, which meets the same captions again and again. Number 0 is the null caption (PAD).
        """
        null = torch.full_like(tokens[:1], PAD)
        distinct, places = torch.cat([null, tokens]).unique(dim=0, return_inverse=True)  # sorted, so null comes first
        context = self._context(distinct)
        return TabledEncoder(Context(sent(context.tokens, device), sent(context.mask, device))), places[1:, None]

    def _context(self, tokens: Tensor) -> Context:
        embed = self.language().embed
        found = [embed(row) for row in without_padding(tokens)]
        context = torch.zeros(len(found), 2 + tokens.shape[1], self.width)
        for place, states in zip(context, found, strict=True):
            place[: len(states)] = states
        mask = F.pad(tokens != PAD, (2, 0), value=True)  # the start, the words, one end
        return Context(sent(context, tokens.device), mask)


class TabledEncoder(nn.Module):
    """The contexts of the captions of a training, in place of the `PretrainedEncoder` that made them.

    A batch is looked up where the table lies, so that no step waits for a GPU to tell what captions it has.
    """

    def __init__(self, table: Context) -> None:
        super().__init__()
        self.table = table

    def forward(self, numbers: Tensor) -> Context:
        """The context (B, 2 + L, width) of captions by their numbers (B, 1)."""
        return Context(self.table.tokens[numbers[:, 0]], self.table.mask[numbers[:, 0]])

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: an average of weights, which is a copy of the network, needs no second table."""
        return self


def without_padding(tokens: Tensor) -> list[tuple[int, ...]]:
    """The numbers in each row of tokens (B, L)."""
    return [tuple(number for number in row if number != PAD) for row in tokens.tolist()]
