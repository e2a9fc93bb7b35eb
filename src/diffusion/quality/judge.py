"""The judge: a classifier of real images, with the features by which every distance is measured.

These are its own penultimate ones, or those of an extractor that goes with it.

A second judge, of another architecture, says which findings do not rest on the first. A third one, trained on x_t at
all noise levels, decides what is still recognisable under noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.data import to_float
from diffusion.nets.classifier import Classifier
from diffusion.nets.lenet import LeNet
from diffusion.objective import Draws, Loss
from diffusion.processes import spread
from diffusion.quality.classification import accuracy
from diffusion.quality.extractor import Extractor
from diffusion.randomness import generator_for
from diffusion.runtime import autocast, freeze
from diffusion.tensors import Description, Tensors, load_model, save_model, with_weights
from diffusion.transfer import sent

MAX_LOG_SNR = 10.0
BATCH_SIZE = 256
LABEL_SMOOTHING = 0.05
MAX_ROTATION, MAX_STRETCH, MAX_SHIFT = math.radians(12), 0.12, 0.1  # of the judge's training images
MAX_ZOOM, MAX_CONTRAST, MAX_BRIGHTNESS, MAX_TINT = 0.2, 0.3, 0.2, 0.1  # ... if it has few of them
JUDGE, NOISY, SECOND = "judge", "noisy judge", "second judge"  # kinds of files
EXTRACTOR = "extractor."  # the prefix of its tensors in a file


Net = Classifier | LeNet


def judge_loss(net: Net, *, precision: str, varied: bool = False) -> Loss:
    """The loss of a judge on images and their labels; one that knows noise sees x_t, log-SNR uniform in [-10, 10].

    With `varied` the images differ in size and colours too.
    """

    def loss(x: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        moves, zoom, log_snr = draws.uniform((), of="draw", before=(6,)), None, None
        if varied:
            zoom, *colours = draws.uniform((), of="variety", before=(3 + x.shape[1],))
            x = recolour(x, torch.stack(colours))
        x = augment(x, moves, zoom)
        if net.knows_noise:
            log_snr = MAX_LOG_SNR * (2 * draws.uniform((), of="draw") - 1)
            alpha_bar = torch.sigmoid(log_snr)[:, None, None, None]
            x = alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * draws.normal(x.shape[1:], of="draw")
        with autocast(x.device, precision):
            logits = net(x, log_snr)
        entropy = F.cross_entropy(logits.float(), label, label_smoothing=LABEL_SMOOTHING)
        return entropy, {"loss": entropy}

    return loss


def augment(x: Tensor, uniform: Tensor, zoom: Tensor | None = None) -> Tensor:
    """Rotate, stretch, shear and shift images (B, C, H, W) slightly, by uniform draws in [0, 1) (6, B); never flip.

    Further draws (B,) zoom them.
    """
    angle, stretch_x, stretch_y, shear, shift_x, shift_y = 2 * uniform - 1
    cos, sin = (MAX_ROTATION * angle).cos(), (MAX_ROTATION * angle).sin()
    rows = [
        torch.stack([cos * (1 + MAX_STRETCH * stretch_x), MAX_STRETCH * shear - sin, MAX_SHIFT * shift_x], dim=1),
        torch.stack([sin, cos * (1 + MAX_STRETCH * stretch_y), MAX_SHIFT * shift_y], dim=1),
    ]
    theta = torch.stack(rows, dim=1)  # (B, 2, 3)
    if zoom is not None:
        theta = theta * (1 + MAX_ZOOM * (2 * zoom - 1))[:, None, None]
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def recolour(x: Tensor, uniform: Tensor) -> Tensor:
    """Change contrast, brightness and the weight of every channel slightly, by uniform draws in [0, 1) (2 + C, B).

    Images (B, C, H, W) stay in [-1, 1].
    """
    contrast, brightness, *tints = 2 * uniform - 1
    gain = (1 + MAX_CONTRAST * contrast) * (1 + MAX_TINT * torch.stack(tints))  # (C, B)
    return (gain.T[:, :, None, None] * x + MAX_BRIGHTNESS * brightness[:, None, None, None]).clamp(-1, 1)


class Seen(NamedTuple):
    """A judge's view of N images: features (N, D) and logits (N, K), float32 on the CPU."""

    features: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained classifier, frozen on its device, called in fp32 and in batches of a fixed size.

    Its features are the 128 penultimate ones, unless it has an extractor beside it.
    """

    net: Net
    device: torch.device
    extractor: Extractor | None = None

    def __post_init__(self) -> None:
        freeze(self.net, self.device)
        if self.extractor is not None:
            freeze(self.extractor, self.device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that it judges."""
        size = self.net.arguments["image_size"]
        return self.net.arguments["in_channels"], size, size

    @property
    def kind(self) -> str:
        """One of KINDS."""
        if isinstance(self.net, LeNet):
            return SECOND
        return NOISY if self.net.knows_noise else JUDGE

    @property
    def features_in_words(self) -> str:
        """What its features are, for a report."""
        return "penultimate features of the judge" if self.extractor is None else self.extractor.words

    @staticmethod
    def load(path: Path, device: torch.device, kind: str = JUDGE) -> "Judge":
        """Load what `save` wrote: a judge of this kind.

        Raises ValueError if the file is missing, damaged or holds anything else.
        """

        def build(tensors: Tensors, description: Description) -> "Judge":
            own, other = parted(tensors, EXTRACTOR)
            net = with_weights(KINDS[kind](**description["classifier"]), own)
            if "extractor" not in description:
                return Judge(net, device)
            judge = Judge(net, device, Extractor.built(description["extractor"], other))
            judge.see(torch.zeros(1, *judge.shape))  # stops here if the extractor is one of other images
            return judge

        return load_model(path, kind, build)[0]

    def save(self, path: Path) -> None:
        """Write the weights with the arguments that build the classifier, and the extractor if it has one."""
        tensors, description = self.net.state_dict(), {"classifier": self.net.arguments}
        if self.extractor is not None:
            tensors |= {EXTRACTOR + name: tensor for name, tensor in self.extractor.state_dict().items()}
            description |= {"extractor": self.extractor.description}
        save_model(path, self.kind, tensors, description)

    @torch.no_grad()
    def see(self, images: Tensor, log_snr: float | None = None) -> Seen:
        """Judge images (N, C, H, W), uint8 or float in [-1, 1]; a judge of noised images needs their log-SNR.

        Raises ValueError if images are not finite or differ in shape from those that the judge was trained on.
        """
        self._refuse_other_images(images)
        batches = images.split(BATCH_SIZE)
        parts = spread(lambda batch: self._see_batch(batch, log_snr), batches, len(batches), self.device)
        return Seen(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))

    def _see_batch(self, batch: Tensor, log_snr: float | None) -> tuple[Tensor, Tensor]:
        x = to_float(sent(batch, self.device))
        levels = None  # of noise, where the judge knows it
        if log_snr is not None:
            levels = torch.full((len(x),), log_snr, device=self.device).clamp(-MAX_LOG_SNR, MAX_LOG_SNR)
        features = self.net.features(x, levels)
        logits = self.net.head(features)
        if self.extractor is not None:
            features = self.extractor(x)
        return features, logits

    def _refuse_other_images(self, images: Tensor) -> None:
        channels, size, _ = self.shape
        if images.shape[1:] != self.shape or len(images) == 0:
            shape = tuple(images.shape)
            raise ValueError(f"judge: cannot judge images of shape {shape} (allowed: (N, {channels}, {size}, {size}))")
        if images.is_floating_point() and not images.isfinite().all():
            raise ValueError("judge: images hold NaN or infinity (allowed: finite values in [-1, 1])")


def parted(tensors: Tensors, prefix: str) -> tuple[Tensors, Tensors]:
    """The tensors whose names do not start with a prefix, and those that do, without it."""
    others = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}, others


def recognisability(
    noisy_judge: Judge, images: Tensor, labels: Tensor, alpha_bars: Sequence[float], seed: int
) -> list[float]:
    """Accuracy of the judge of noised images on x_t, for every alpha_bar, with the same noise at all of them.

    images uint8 (N, C, H, W), labels (N,). It depends on alpha_bar alone, so one curve serves every schedule.
    """
    x_0 = to_float(images)
    eps = torch.randn(x_0.shape, generator=generator_for(seed, "recognisability"))
    return [accuracy(noised_logits(noisy_judge, x_0, eps, a).argmax(1), labels) for a in alpha_bars]


def noised_logits(noisy_judge: Judge, x_0: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    """Logits (N, K) on x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps, for alpha_bar in [0, 1]."""
    log_snr = math.log(alpha_bar / (1 - alpha_bar)) if 0 < alpha_bar < 1 else math.copysign(math.inf, alpha_bar - 0.5)
    return noisy_judge.see(math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * eps, log_snr).logits


KINDS: dict[str, type[Classifier] | type[LeNet]] = {JUDGE: Classifier, NOISY: Classifier, SECOND: LeNet}
