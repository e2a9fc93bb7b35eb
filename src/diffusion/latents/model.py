"""Diffusion in the latents of an autoencoder, conditioned on text: the model, its tokens, its file.

A denoiser of latents is a `Denoiser` like that of pixels, with the same samplers, guidance and training. The difference
is that x_0 is never clipped, the condition is a row of tokens, and images are decoded at the end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.denoiser import Denoiser
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.latents.captions import Vocabulary, spelled
from diffusion.latents.meanings import Meanings, in_known_words, said_in, unknown_in
from diffusion.latents.pretrained import LanguageModel, language_model, refuse_other_language_model
from diffusion.latents.text import PAD, PretrainedEncoder, TextEncoder, TextUNet, without_padding
from diffusion.nets.attention import ContextAttention
from diffusion.nets.table import build_net
from diffusion.runtime import freeze
from diffusion.schedule import noise_schedule
from diffusion.tensors import Description, Tensors, class_names_of, load_model, save_model, with_weights

MAX_TOKENS = 16  # of the own encoder,
MAX_PIECES = 32  # and of language models, which take words apart
AUTOENCODER = "autoencoder."  # in front of the names of its tensors in the file of a model


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A denoiser of latents, the autoencoder that they belong to, and the numbers of the words of a text."""

    denoiser: Denoiser
    autoencoder: Autoencoder
    words: "Words"

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w)."""
        return self.autoencoder.latent_shape

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """The tokens (N, L) of texts, which are its condition, on the device of the denoiser."""
        return self.words.tokens(texts).to(self.denoiser.device)


class Words:
    """The numbers of the words of a text from 1 up: by a vocabulary, or by a language model's own tokenizer, which
    takes any word (`takes_any`)."""

    def __init__(self, text: dict[str, Any], vocabulary: Sequence[str]) -> None:
        self.text, self.vocabulary = text, Vocabulary(tuple(vocabulary))
        self.takes_any = text["encoder"] != "own"
        self.length = MAX_PIECES if self.takes_any else MAX_TOKENS

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text. Raises ValueError for what the encoder cannot read."""
        return self._source.numbers(self.understood(text))

    def understood(self, text: str) -> str:
        """The text that the encoder is given: for a language model, with adjectives of the captions in place of words
        that no caption had but that mean the same."""
        properties = said_in(self.vocabulary.words) if self.takes_any else None
        text = spelled(text) if properties else text
        if properties is None or not unknown_in(text, self.vocabulary.words):
            return text
        return in_known_words(text, self.vocabulary.words, self._meanings)

    def pieces(self, text: str) -> list[str]:
        """What each of these numbers stands for."""
        return self._source.pieces(self.understood(text))

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """The tokens (N, L) of texts."""
        return pad([self.numbers(text) for text in texts], self.length)

    def remember(self, tokens: Tensor) -> None:
        """Let a language model work out its states of tokens (N, L) that a training is about to use."""
        if self.takes_any:
            opened(self.text).remember(without_padding(tokens))

    @cached_property
    def _meanings(self) -> Meanings:
        properties = said_in(self.vocabulary.words)
        assert properties is not None
        adjectives = {word for part in properties.values() for word in part.adjectives}
        return Meanings(opened(self.text), properties, [w for w in self.vocabulary.words if w not in adjectives])

    @property
    def _source(self) -> Vocabulary | LanguageModel:
        return opened(self.text) if self.takes_any else self.vocabulary


def opened(text: dict[str, Any]) -> LanguageModel:
    """The language model that `text` describes. Raises ValueError as `language_model` does."""
    return language_model(text["encoder"], text["folder"])


def pad(rows: Sequence[Sequence[int]], length: int = MAX_TOKENS) -> Tensor:
    """Pad rows of numbers with PAD to tokens (N, length), int64. Raises ValueError for a longer row."""
    longest = max(map(len, rows))
    if longest > length:
        raise ValueError(f"a text of {longest} tokens is too long (allowed: up to {length})")
    return torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])


def described(text: dict[str, Any]) -> dict[str, Any]:
    """The settings of a text encoder, and of a frozen one the width and the checksum of its language model."""
    if text["encoder"] == "own":
        return text
    language = opened(text)
    return text | {"width": language.width, "checksum": language.checksum}


def text_unet(unet: dict[str, Any], text: dict[str, Any], vocabulary_size: int) -> TextUNet:
    """A U-Net (see `build_net`) with the text encoder that `text` describes (see `described`)."""
    if text["encoder"] == "own":
        encoder: TextEncoder | PretrainedEncoder = TextEncoder(
            1 + vocabulary_size, MAX_TOKENS, text["width"], text["layers"], text["heads"]
        )
    else:
        encoder = PretrainedEncoder(text["width"], partial(opened, text))
    return TextUNet(encoder, build_net(unet | {"context_dim": encoder.width}))


def save_latent(path: Path, net: Tensors, autoencoder: nn.Module, description: Description) -> None:
    """Write both networks with what builds the model: `net` (see `build_net`), `text`, `vocabulary`, `autoencoder`
    (arguments), `schedule`, `timesteps`, `target`, `class_names`."""
    tensors = net | {AUTOENCODER + name: tensor for name, tensor in autoencoder.state_dict().items()}
    save_model(path, "latent", tensors, description)


def load_latent(path: Path, device: torch.device, precision: str) -> tuple[LatentModel, Description]:
    """Load what `save_latent` wrote, ready to sample with, and its description.

    Raises ValueError for a file that is not such a model of this project, and for a language model that is missing or
    is not the one that it was trained on.
    """

    def build(tensors: Tensors, description: Description) -> LatentModel:
        inside = {name.removeprefix(AUTOENCODER): x for name, x in tensors.items() if name.startswith(AUTOENCODER)}
        others = {name: x for name, x in tensors.items() if not name.startswith(AUTOENCODER)}
        autoencoder = with_weights(Autoencoder(**description["autoencoder"]), inside)
        net = text_unet(description["net"], description["text"], len(description["vocabulary"]))
        net = freeze(with_weights(net, others), device)
        words = Words(description["text"], description["vocabulary"])
        schedule = noise_schedule(description["schedule"], description["timesteps"])
        class_names_of(description)
        denoiser = Denoiser(net, schedule, description["target"], precision)
        return LatentModel(denoiser, freeze(autoencoder, device), words)

    model, description = load_model(path, "latent", build)
    text = description["text"]
    if text["encoder"] != "own":
        refuse_other_language_model(path, text["encoder"], text["folder"], text["checksum"])
    return model, description


@contextmanager
def record_attention(net: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list to which every cross-attention of a network adds its weights, from positions to tokens.

    An entry (B, h * w, 1 + L), the mean over heads, for every block and every evaluation of the network.
    """
    recorded: list[Tensor] = []
    hooks = [
        layer.cross.register_forward_hook(lambda cross, inputs, _: recorded.append(cross.weights(*inputs).mean(dim=1)))
        for layer in net.modules()
        if isinstance(layer, ContextAttention)
    ]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
