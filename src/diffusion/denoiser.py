"""From a network to `denoise(x_t, t) -> x_0`: the one callable that samplers see.

Labels, guidance, clipping and counting are functions from denoiser to denoiser, which the caller nests.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.nets.table import build_net
from diffusion.runtime import autocast, freeze
from diffusion.schedule import NoiseSchedule, noise_schedule, per_sample
from diffusion.target import TARGETS
from diffusion.tensors import Description, Tensors, class_names_of, load_model, save_model, with_weights

Denoise = Callable[[Tensor, Tensor | float], Tensor]  # (x_t (B, ...), t: a number, or (B,) if unguided) -> x_0
EMBEDDED_TIMES = 1000  # networks see 1000 * t / T, whatever T is


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A network with the schedule and the target that give its output a meaning.

    Raises ValueError for an unknown target, and for one that the schedule leaves undefined.
    """

    net: nn.Module
    schedule: NoiseSchedule
    target: str
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ValueError(f"target: {self.target!r} is unknown (allowed: {', '.join(TARGETS)})")
        if self.target == "eps" and self.schedule.alpha_bar[-1] == 0:
            raise ValueError(
                f"target: 'eps' is undefined under schedule {self.schedule.name!r}, where alpha_bar_T = 0 "
                "leaves no x_0 to recover (allowed: x0, v, flow)"
            )

    @property
    def device(self) -> torch.device:
        """Where the network is, and where its inputs must be."""
        return next(self.net.parameters()).device

    @property
    def null(self) -> int:
        """The entries of the condition that makes the network unconditional."""
        null = self.net.null
        assert isinstance(null, int)
        return null

    def predict(self, x_t: Tensor, t: Tensor | float, condition: Tensor) -> Tensor:
        """The network's output (B, ...) fp32, an estimate of the target; t in [0, T] is one number or (B,).

        The condition is what the network takes, one row per image: labels (B,), or tokens of captions (B, L).
        """
        scale = EMBEDDED_TIMES / self.schedule.timesteps
        if isinstance(t, Tensor):
            time = (scale * t).to(x_t.device, torch.float32, non_blocking=True).expand(len(x_t))
        else:
            time = torch.full((len(x_t),), scale * t, device=x_t.device)
        with autocast(x_t.device, self.precision):
            return self.net(x_t.contiguous(memory_format=torch.channels_last), time, condition).float()

    def __call__(self, x_t: Tensor, t: Tensor | float, condition: Tensor) -> Tensor:
        """The estimate of x_0 (B, C, H, W) given x_t and a condition (B, ...)."""
        return self.to_x_0(x_t, t, self.predict(x_t, t, condition))

    def to_x_0(self, x_t: Tensor, t: Tensor | float, prediction: Tensor) -> Tensor:
        """The x_0 (B, C, H, W) that a prediction of the target at x_t implies."""
        signal, noise = (per_sample(c, x_t) for c in self.schedule.coefficients(t))
        return TARGETS[self.target].to_x_0(x_t, prediction, signal, noise)


def conditional(denoiser: Denoiser, condition: Tensor) -> Denoise:
    """Denoise towards a condition (B, ...); the null condition makes it unconditional."""
    return lambda x_t, t: denoiser(x_t, t, condition)


def guided(
    denoiser: Denoiser,
    condition: Tensor,
    scale: float,
    interval: tuple[float, float] = (-math.inf, math.inf),
    rescale: float = 0.0,
) -> Denoise:
    """Classifier-free guidance: uncond + scale * (cond - uncond), in one evaluation of a doubled batch.

    scale = 0 is unconditional and 1 conditional (neither needs the other half), a larger one guides. The combination is
    affine in the prediction, so it is the same for eps, x_0 and v (Ho & Salimans 2022, eq. 6, with scale = 1 + their
    w). The null condition is the network's own: the label of no class, or a caption of nothing but padding.
    Where the log-SNR of t is outside of `interval`, scale is 1 (Kynkäänniemi et al. 2024). `rescale` in [0, 1] pulls
    the standard deviation of a guided prediction back towards that of the conditional one (Lin et al. 2024, eq. 15-16).
    Raises ValueError for a scale below 0.
    """
    if not scale >= 0:
        raise ValueError(f"guidance scale: {scale} is not possible (allowed: 0 or more)")
    nothing = torch.full_like(condition, denoiser.null)

    def denoise(x_t: Tensor, t: Tensor | float) -> Tensor:
        first, last = interval
        here = scale if first <= denoiser.schedule.snr(t).log() <= last else 1
        if here in (0, 1):
            return denoiser(x_t, t, condition if here else nothing)
        cond, uncond = denoiser.predict(torch.cat([x_t, x_t]), t, torch.cat([condition, nothing])).chunk(2)
        prediction = uncond + here * (cond - uncond)
        if rescale:
            wanted, found = (x.std(dim=(1, 2, 3), keepdim=True) for x in (cond, prediction))
            prediction = prediction * (1 + rescale * (wanted / found.clamp(min=1e-12) - 1))
        return denoiser.to_x_0(x_t, t, prediction)

    return denoise


def clipped(denoise: Denoise) -> Denoise:
    """The same with x_0 clipped to [-1, 1], the range of pixels; eps, derived from x_0 by samplers, follows it."""
    return lambda x_t, t: denoise(x_t, t).clamp(-1, 1)


def counted(denoise: Denoise, times: list[float]) -> Denoise:
    """The same, appending the t of every call to `times`."""

    def counting(x_t: Tensor, t: Tensor | float) -> Tensor:
        times.append(float(t))
        return denoise(x_t, t)

    return counting


@contextmanager
def record_evaluations(denoiser: Denoiser) -> Iterator[list[int]]:
    """Yield a list to which every evaluation of the network adds the number of its images."""
    sizes: list[int] = []
    with denoiser.net.register_forward_hook(lambda net, inputs, output: sizes.append(len(output))):
        yield sizes


def save_denoiser(path: Path, tensors: Tensors, description: Description) -> None:
    """Write a network's weights with what builds the denoiser: `net` (see `build_net`), `schedule`, `timesteps`,
    `target`, `class_names`."""
    save_model(path, "denoiser", tensors, description)


def refuse_other_images(path: Path, description: dict[str, Any], shape: Sequence[int], num_classes: int) -> None:
    """Raise ValueError unless the denoiser in a file was made for images (C, H, W) of that many classes."""
    net = description["net"]
    made_for = (net["image_channels"], net["image_size"], net["image_size"], net["num_classes"])
    if made_for != (*shape, num_classes):
        data = "images of {1}x{2}, {0} channels, {3} classes"
        raise ValueError(f"{path}: made for {data.format(*made_for)}; the data are {data.format(*shape, num_classes)}")


def load_denoiser(path: Path, device: torch.device, precision: str) -> tuple[Denoiser, Description]:
    """Load the denoiser in a file, ready to sample with, and its description.

    Raises ValueError for a file that is not a denoiser of this project.
    """

    def build(tensors: Tensors, description: Description) -> Denoiser:
        net = with_weights(build_net(description["net"]), tensors)
        schedule = noise_schedule(description["schedule"], description["timesteps"])
        if len(class_names_of(description)) != description["net"]["num_classes"]:
            raise ValueError("as many class_names as num_classes are needed")
        return Denoiser(freeze(net, device), schedule, description["target"], precision)

    return load_model(path, "denoiser", build)
