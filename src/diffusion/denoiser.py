"""From a network to `denoise(x_t, t) -> x_0`: the one callable that samplers see.

Labels, guidance, clipping and counting are functions from denoiser to denoiser, which the caller nests.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.nets.table import build_net
from diffusion.runtime import autocast, freeze
from diffusion.schedule import NoiseSchedule, noise_schedule, per_sample
from diffusion.target import TARGETS
from diffusion.tensors import Description, Tensors, class_names_of, load_model, save_model, with_weights
from diffusion.transfer import sent

Denoise = Callable[[Tensor, Tensor | float], Tensor]  # (x_t (B, ...), t: a number, or (B,) if unguided) -> x_0
Interval = tuple[float, float]  # of log-SNR
EVERYWHERE = (-math.inf, math.inf)
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
            time = sent((scale * t).to(torch.float32), x_t.device).expand(len(x_t))
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


@dataclass(frozen=True, eq=False)
class Conditional:
    """A denoiser and the condition (B, ...) that it denoises towards."""

    denoiser: Denoiser
    condition: Tensor

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        """The estimate of x_0 (B, ...)."""
        return self.denoiser(x_t, t, self.condition)

    def unconditional(self) -> "Conditional":
        """The same under the network's null condition: the label of no class, or a caption of nothing but padding."""
        return replace(self, condition=torch.full_like(self.condition, self.denoiser.null))


def guided(conditional: Conditional, reference: Conditional, scale: float, rescale: float = 0.0) -> Denoise:
    """Guidance away from a reference: reference + scale * (conditional - reference).

    The reference is a worse denoiser: the same one without a condition in classifier-free guidance (Ho & Salimans 2022,
    eq. 6, with scale = 1 + their w), a worse network under the same condition in autoguidance (Karras et al. 2024,
    "Guiding a diffusion model with a bad version of itself"). scale = 0 is the reference and 1 the conditional denoiser
    (neither needs the other); a larger one guides. The combination is affine in the prediction, so it is the same for
    eps, x_0 and v. `rescale` in [0, 1] pulls the standard deviation of a guided prediction back towards that of the
    conditional one (Lin et al. 2024, eq. 15-16). Raises ValueError for a scale below 0.
    """
    if not scale >= 0:
        raise ValueError(f"guidance scale: {scale} is not possible (allowed: 0 or more)")
    if scale in (0, 1):
        return conditional if scale else reference
    denoiser, predictions = conditional.denoiser, _predictions(conditional, reference)
    assert (denoiser.target, denoiser.schedule.name) == (reference.denoiser.target, reference.denoiser.schedule.name)

    def denoise(x_t: Tensor, t: Tensor | float) -> Tensor:
        good, bad = predictions(x_t, t)
        prediction = bad + scale * (good - bad)
        if rescale:
            wanted, found = (x.std(dim=(1, 2, 3), keepdim=True) for x in (good, prediction))
            prediction = prediction * (1 + rescale * (wanted / found.clamp(min=1e-12) - 1))
        return denoiser.to_x_0(x_t, t, prediction)

    return denoise


def _predictions(a: Conditional, b: Conditional) -> Callable[[Tensor, Tensor | float], tuple[Tensor, Tensor]]:
    """(x_t, t) -> what both predict, in one evaluation of a doubled batch where they share a network."""
    if a.denoiser is not b.denoiser:
        return lambda x_t, t: (a.denoiser.predict(x_t, t, a.condition), b.denoiser.predict(x_t, t, b.condition))
    conditions = torch.cat([a.condition, b.condition])

    def predict(x_t: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        both = a.denoiser.predict(torch.cat([x_t, x_t]), t, conditions)
        return both[: len(x_t)], both[len(x_t) :]

    return predict


def within(interval: Interval, schedule: NoiseSchedule, inside: Denoise, outside: Denoise) -> Denoise:
    """`inside` where the log-SNR of t lies in the interval, `outside` elsewhere (Kynkäänniemi et al. 2024)."""
    first, last = interval

    def denoise(x_t: Tensor, t: Tensor | float) -> Tensor:
        return (inside if first <= schedule.snr(t).log() <= last else outside)(x_t, t)

    return denoise


Wrap = Callable[[Denoiser, Tensor], Denoise]  # towards conditions (B, ...): `Conditional`, or `guidance(scale)`


def guidance(scale: float, bad: Denoiser | None = None, interval: Interval = EVERYWHERE, rescale: float = 0.0) -> Wrap:
    """Guidance of any denoiser: away from a `bad` one (autoguidance), or else from itself without a condition
    (classifier-free), where the log-SNR lies in `interval`; see `guided`."""

    def wrap(denoiser: Denoiser, condition: Tensor) -> Denoise:
        conditional = Conditional(denoiser, condition)
        reference = Conditional(bad, condition) if bad else conditional.unconditional()
        return within(interval, denoiser.schedule, guided(conditional, reference, scale, rescale), conditional)

    return wrap


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
def record_evaluations(*denoisers: Denoiser) -> Iterator[list[int]]:
    """Yield a list to which every evaluation of a network adds the number of its images."""
    sizes: list[int] = []
    with ExitStack() as hooks:
        for denoiser in denoisers:
            hook = denoiser.net.register_forward_hook(lambda net, inputs, output: sizes.append(len(output)))
            hooks.enter_context(hook)
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


def refuse_other_model(path: Path, description: Description, model: Description) -> None:
    """Raise ValueError unless the denoiser in a file sees the same images, classes and noise as another model, and
    predicts the same of them."""

    def found(of: Description) -> dict[str, Any]:
        images = {key: of["net"][key] for key in ("image_channels", "image_size")}
        return images | {key: of[key] for key in ("schedule", "timesteps", "target", "class_names")}

    for (key, value), wanted in zip(found(description).items(), found(model).values(), strict=True):
        if value != wanted:
            raise ValueError(f"{path}: made with {key} {value!r:.80}, the model with {wanted!r:.80}")


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
