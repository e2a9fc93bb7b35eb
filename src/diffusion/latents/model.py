"""Diffusion in the latents of an autoencoder, conditioned on text: the model, its tokens, its file.

A denoiser of latents is a `Denoiser` like that of pixels, with the same samplers, guidance and training. The difference
is that x_0 is never clipped, the condition is a row of tokens, and images are decoded at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.denoiser import Denoiser
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.latents.captions import Vocabulary
from diffusion.latents.text import PAD, ClipEncoder, TextEncoder, TextUNet, pretrained
from diffusion.nets.attention import ContextAttention
from diffusion.nets.table import build_net
from diffusion.runtime import freeze
from diffusion.schedule import noise_schedule
from diffusion.tensors import Description, Tensors, class_names_of, load_model, save_model, with_weights

MAX_TOKENS = 16
AUTOENCODER = "autoencoder."  # in front of the names of its tensors in the file of a model


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A denoiser of latents, the autoencoder that they belong to, and the numbers of the words of a text."""

    denoiser: Denoiser
    autoencoder: Autoencoder
    numbers: Callable[[str], list[int]]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w)."""
        return self.autoencoder.latent_shape

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """The tokens (N, L) of texts, which are its condition, on the device of the denoiser."""
        return pad([self.numbers(text) for text in texts]).to(self.denoiser.device)


def pad(rows: Sequence[Sequence[int]], length: int = MAX_TOKENS) -> Tensor:
    """Pad rows of numbers with PAD to tokens (N, length), int64. Raises ValueError for a longer row."""
    longest = max(map(len, rows))
    if longest > length:
        raise ValueError(f"a text of {longest} tokens is too long (allowed: up to {length})")
    return torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])


def numbering(text: dict[str, Any], vocabulary: Sequence[str]) -> Callable[[str], list[int]]:
    """The function that numbers the words of a text from 1 up: by the vocabulary, or by CLIP's own tokenizer."""
    if text["encoder"] == "own":
        return Vocabulary(tuple(vocabulary)).numbers
    tokenizer = pretrained("CLIPTokenizer", text["clip_folder"])
    return lambda words: [1 + number for number in tokenizer(words, add_special_tokens=False)["input_ids"]]


def text_unet(unet: dict[str, Any], text: dict[str, Any], vocabulary_size: int) -> TextUNet:
    """A U-Net (see `build_net`) with the text encoder that `text` describes: `encoder` (own, clip) and its settings."""
    if text["encoder"] == "own":
        encoder: TextEncoder | ClipEncoder = TextEncoder(
            1 + vocabulary_size, MAX_TOKENS, text["width"], text["layers"], text["heads"]
        )
    else:
        encoder = ClipEncoder(text["clip_folder"])
    return TextUNet(encoder, build_net(unet | {"context_dim": encoder.width}))


def save_latent(path: Path, net: Tensors, autoencoder: nn.Module, description: Description) -> None:
    """Write both networks with what builds the model: `net` (see `build_net`), `text`, `vocabulary`, `autoencoder`
    (arguments), `schedule`, `timesteps`, `target`, `class_names`."""
    tensors = net | {AUTOENCODER + name: tensor for name, tensor in autoencoder.state_dict().items()}
    save_model(path, "latent", tensors, description)


def load_latent(path: Path, device: torch.device, precision: str) -> tuple[LatentModel, Description]:
    """Load what `save_latent` wrote, ready to sample with, and its description.

    Raises ValueError for a file that is not such a model of this project.
    """

    def build(tensors: Tensors, description: Description) -> LatentModel:
        inside = {name.removeprefix(AUTOENCODER): x for name, x in tensors.items() if name.startswith(AUTOENCODER)}
        others = {name: x for name, x in tensors.items() if not name.startswith(AUTOENCODER)}
        autoencoder = with_weights(Autoencoder(**description["autoencoder"]), inside)
        net = text_unet(description["net"], description["text"], len(description["vocabulary"]))
        net = freeze(with_weights(net, others), device)
        numbers = numbering(description["text"], description["vocabulary"])
        schedule = noise_schedule(description["schedule"], description["timesteps"])
        class_names_of(description)
        denoiser = Denoiser(net, schedule, description["target"], precision)
        return LatentModel(denoiser, freeze(autoencoder, device), numbers)

    return load_model(path, "latent", build)


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
