"""The judge: a classifier of real images, whose penultimate features are the extractor of every distance.

A second one, trained on x_t at all noise levels, decides what is still recognisable under noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.data import to_float
from diffusion.lanes import in_lanes
from diffusion.nets.classifier import Classifier
from diffusion.objective import Draws, Loss
from diffusion.quality.classification import accuracy
from diffusion.randomness import generator_for
from diffusion.runtime import autocast, freeze
from diffusion.tensors import Description, Tensors, load_model, save_model, with_weights

MAX_LOG_SNR = 10.0
BATCH_SIZE = 256
LABEL_SMOOTHING = 0.05
MAX_ROTATION, MAX_STRETCH, MAX_SHIFT = math.radians(12), 0.12, 0.1  # of the judge's training images
KINDS = ("judge", "noisy judge")  # of files: the second knows noise


def judge_loss(net: Classifier, *, precision: str) -> Loss:
    """The loss of a judge on images and their labels; one that knows noise sees x_t, log-SNR uniform in [-10, 10]."""

    def loss(x: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        x, log_snr = augment(x, draws.uniform((), of="draw", before=(6,))), None
        if net.knows_noise:
            log_snr = MAX_LOG_SNR * (2 * draws.uniform((), of="draw") - 1)
            alpha_bar = torch.sigmoid(log_snr)[:, None, None, None]
            x = alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * draws.normal(x.shape[1:], of="draw")
        with autocast(x.device, precision):
            logits = net(x, log_snr)
        entropy = F.cross_entropy(logits.float(), label, label_smoothing=LABEL_SMOOTHING)
        return entropy, {"loss": entropy}

    return loss


def augment(x: Tensor, uniform: Tensor) -> Tensor:
    """Rotate, stretch, shear and shift images (B, C, H, W) slightly, by uniform draws in [0, 1) (6, B); never flip."""
    angle, stretch_x, stretch_y, shear, shift_x, shift_y = 2 * uniform - 1
    cos, sin = (MAX_ROTATION * angle).cos(), (MAX_ROTATION * angle).sin()
    rows = [
        torch.stack([cos * (1 + MAX_STRETCH * stretch_x), MAX_STRETCH * shear - sin, MAX_SHIFT * shift_x], dim=1),
        torch.stack([sin, cos * (1 + MAX_STRETCH * stretch_y), MAX_SHIFT * shift_y], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


class Seen(NamedTuple):
    """A judge's view of N images: features (N, 128) and logits (N, K), float32 on the CPU."""

    features: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained classifier, frozen on its device, called in fp32 and in batches of a fixed size."""

    net: Classifier
    device: torch.device

    def __post_init__(self) -> None:
        freeze(self.net, self.device)

    @classmethod
    def load(cls, path: Path, device: torch.device, knows_noise: bool = False) -> Self:
        """Load what `save` wrote: the judge of clean images, or the one that `knows_noise`.

        Raises ValueError if the file is missing, damaged or holds anything else.
        """

        def build(tensors: Tensors, description: Description) -> Classifier:
            return with_weights(Classifier(**description["classifier"]), tensors)

        net, _ = load_model(path, KINDS[knows_noise], build)
        return cls(net, device)

    def save(self, path: Path) -> None:
        """Write the weights with the arguments that build the classifier."""
        save_model(path, KINDS[self.net.knows_noise], self.net.state_dict(), {"classifier": self.net.arguments})

    @torch.no_grad()
    def see(self, images: Tensor, log_snr: float | None = None) -> Seen:
        """Judge images (N, C, H, W), uint8 or float in [-1, 1]; a judge of noised images needs their log-SNR.

        Raises ValueError if images are not finite or differ in shape from those that the judge was trained on.
        """
        self._refuse_other_images(images)
        batches = images.split(BATCH_SIZE)
        parts = in_lanes(lambda batch: self._see_batch(batch, log_snr), batches, len(batches), self.device)
        return Seen(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _see_batch(self, batch: Tensor, log_snr: float | None) -> Seen:
        x = to_float(batch).to(self.device)
        levels = None  # of noise, where the judge knows it
        if log_snr is not None:
            levels = torch.full((len(x),), log_snr, device=self.device).clamp(-MAX_LOG_SNR, MAX_LOG_SNR)
        features = self.net.features(x, levels)
        return Seen(features.cpu(), self.net.head(features).cpu())

    def _refuse_other_images(self, images: Tensor) -> None:
        channels, size = self.net.arguments["in_channels"], self.net.arguments["image_size"]
        if images.shape[1:] != (channels, size, size) or len(images) == 0:
            shape = tuple(images.shape)
            raise ValueError(f"judge: cannot judge images of shape {shape} (allowed: (N, {channels}, {size}, {size}))")
        if images.is_floating_point() and not images.isfinite().all():
            raise ValueError("judge: images hold NaN or infinity (allowed: finite values in [-1, 1])")


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
