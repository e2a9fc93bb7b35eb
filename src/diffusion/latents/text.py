"""Encoders of text, whose tokens a U-Net attends to: a small one that is trained with it, or a frozen CLIP.

A caption is a row of token numbers, padded with 0 (`PAD`); the null caption, which stands for any image, is all PAD.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.nets.attention import Context, CrossAttention
from diffusion.nets.unet import UNet

PAD = 0


class TextUNet(nn.Module):
    """A U-Net whose condition is a caption: net(x, time, tokens), with tokens (B, L)."""

    def __init__(self, text: nn.Module, unet: UNet) -> None:
        super().__init__()
        self.text, self.unet, self.null = text, unet, PAD

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        no_class = torch.full_like(tokens[:, 0], self.unet.null)
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


class ClipEncoder(nn.Module):
    """A frozen CLIP text encoder (Radford et al. 2021) from a local folder; our token k + 1 is CLIP's k.

    Nothing is downloaded. Raises ValueError if the package `transformers` or the weights are missing.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.model = pretrained("CLIPTextModel", folder, use_safetensors=True).requires_grad_(False)
        self.width = self.model.config.hidden_size

    def forward(self, tokens: Tensor) -> Context:
        """The context (B, 2 + L, width) of captions (B, L), between CLIP's own tokens for start and end."""
        config = self.model.config
        words = torch.where(tokens == PAD, config.eos_token_id, tokens - 1)
        ids = F.pad(F.pad(words, (1, 0), value=config.bos_token_id), (0, 1), value=config.eos_token_id)
        mask = F.pad(tokens != PAD, (2, 0), value=True)  # the start, the words, one end
        hidden = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return Context(hidden, mask)


def pretrained(kind: str, folder: str, **options: bool) -> Any:
    """An instance of a class of `transformers`, read from a local folder.

    Raises ValueError if the package is missing, or files are missing or damaged.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError("text.encoder: 'clip' needs the package transformers (pip install -e '.[clip]')") from error
    if not Path(folder).is_dir():
        raise ValueError(
            f"text.clip_folder: {folder!r} is not a folder (expected CLIP's weights, saved by transformers)"
        )
    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # what transformers raises on a damaged folder is not a closed list
        raise ValueError(f"text.clip_folder: {folder!r} holds no {kind} of transformers ({error})") from error
