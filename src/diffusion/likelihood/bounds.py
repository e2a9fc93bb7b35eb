"""How probable 8-bit images are under a denoiser: two upper bounds on -log P(image), which differ beyond t = 1.

Both begin with the image at the least noisy time, x_1 = signal_1 x_0 + noise_1 eps, and owe the grey values given x_1.
There, the forward process itself dequantises: for every x_1 drawn with q(x_1 | x_0),

    -log P(image) <= E[-log P(image | x_1)] + E[log q(x_1 | x_0) - log p(x_1)]        (Jensen; VDM, Kingma et al. 2021)

The variational bound takes the second part from the denoiser's errors, the ODE from the divergence of its flow. The
denoiser must not clip x_0. Figures are in nats per image until `bits_per_dim`.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.data import to_float
from diffusion.denoiser import Denoise
from diffusion.likelihood.greys import Greys
from diffusion.samplers.ode import FIRST_TIME, Slope, angle_at, flow, solve
from diffusion.schedule import MAX_SIGMA, NoiseSchedule, per_sample

Decode = Callable[[Tensor, Tensor], Tensor]  # (x_1, uint8 images) -> -log P(image | x_1) (B,), in nats


class Bound(NamedTuple):
    """The terms of the variational bound for every image, in nats."""

    prior: Tensor  # (B,): what x_T still knows of the image
    diffusion: Tensor  # (B, S): one for every stretch of log-SNR, from noise to image
    reconstruction: Tensor  # (B,): the grey values given x_1

    def total(self) -> Tensor:
        """(B,)."""
        return self.prior + self.diffusion.sum(1) + self.reconstruction


def bits_per_dim(nats: Tensor, images: Tensor) -> Tensor:
    """Nats per image (B, ...) as bits per pixel and channel of images (B, C, H, W)."""
    return nats / (images[0].numel() * math.log(2))


def least_noisy(schedule: NoiseSchedule, images: Tensor, eps: Tensor) -> Tensor:
    """x_1 (B, C, H, W) of uint8 images."""
    return schedule.q_sample(to_float(images), FIRST_TIME, eps)


def by_shares(schedule: NoiseSchedule, greys: Greys) -> Decode:
    """The decoder that knows, of every pixel, what x_1 shows there and how frequent grey values are.

    P(k | x_1) is proportional to share_k N(x_1; signal_1 value_k, noise_1^2). Without the shares, a sure black pixel
    would cost more than a bit.
    """

    def decode(x_1: Tensor, images: Tensor) -> Tensor:
        signal, noise = (weight.to(x_1.dtype) for weight in schedule.coefficients(FIRST_TIME))
        log_weights = greys.log_weights(x_1, signal, noise).flatten(0, -2)  # (B * C * H * W, GREYS)
        nats = F.cross_entropy(log_weights, images.flatten().long(), reduction="none")
        return nats.view(len(images), -1).sum(1)

    return decode


def log_snr_range(schedule: NoiseSchedule) -> tuple[float, float]:
    """(log-SNR where the variational bound begins, log-SNR at t = 1): that of T, or of MAX_SIGMA where T has less."""
    at_last, at_first = schedule.snr(torch.tensor([schedule.timesteps, FIRST_TIME])).log().tolist()
    return max(at_last, -2 * math.log(MAX_SIGMA)), at_first


@torch.no_grad()
def variational_bound(
    denoise: Denoise,
    schedule: NoiseSchedule,
    images: Tensor,
    decode: Decode,
    noise: Iterator[Tensor],
    shares: Tensor,
) -> Bound:
    """The bound in continuous time (Kingma et al. 2021, eq. 15): the limit of DDPM's (Ho et al. 2020, eq. 5) in T.

    One draw of x_t from each of S equal stretches of log-SNR, at `shares` (B, S) in [0, 1) of it.
    """
    x_0 = to_float(images)
    reconstruction = decode(least_noisy(schedule, images, next(noise)), images)
    first, last = log_snr_range(schedule)
    signal_square = 1 / (1 + math.exp(-first))
    prior = (signal_square * (x_0.square() - 1) - math.log1p(-signal_square)).flatten(1).sum(1) / 2
    width = (last - first) / shares.shape[1]
    terms = []
    for stretch, share in enumerate(shares.double().unbind(1)):
        log_snr = first + width * (stretch + share)
        t = schedule.time_at(log_snr.sigmoid())
        x_t = schedule.q_sample(x_0, t, next(noise))
        error = (x_0 - denoise(x_t, t)).square().flatten(1).sum(1)
        terms.append(width / 2 * per_sample(log_snr.exp(), error) * error)
    return Bound(prior, torch.stack(terms, dim=1), reconstruction)


def ode_bound(
    denoise: Denoise,
    schedule: NoiseSchedule,
    images: Tensor,
    decode: Decode,
    noise: Iterator[Tensor],
    tolerance: float,
) -> Tensor:
    """-log P of uint8 images (B,) in nats, log p(x_1) by the probability-flow ODE (Song et al. 2021, eq. 39)."""
    eps = next(noise)
    x_1 = least_noisy(schedule, images, eps)
    _, noise_1 = schedule.coefficients(FIRST_TIME)
    log_q = log_normal(eps) - eps[0].numel() * noise_1.log().item()
    probe = next(noise).sign()
    return decode(x_1, images) + log_q - log_density(denoise, schedule, x_1, probe, tolerance)


def log_density(denoise: Denoise, schedule: NoiseSchedule, x_1: Tensor, probe: Tensor, tolerance: float) -> Tensor:
    """log p(x_1) (B,) in nats: that of the noise it flows to, plus all that the flow spreads on the way.

    The divergence is Hutchinson's estimate, exact on average for probes of random signs (Grathwohl et al. 2019, eq. 8).
    """
    slope = flow(denoise, schedule)
    shape = x_1.shape

    def with_divergence(angle: float, state: Tensor) -> Tensor:
        v, divergence = slope_and_divergence(slope, angle, state[:, :-1].view(shape), probe)
        return torch.cat([v.flatten(1), divergence[:, None]], dim=1)

    state = torch.cat([x_1.flatten(1), x_1.new_zeros(len(x_1), 1)], dim=1)
    start, end = angle_at(schedule, FIRST_TIME), angle_at(schedule, schedule.timesteps)
    state = solve(with_divergence, state, start, end, tolerance)
    return log_normal(state[:, :-1]) + state[:, -1]


def slope_and_divergence(slope: Slope, angle: float, x: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """(v (B, ...), probe^T dv/dx probe (B,))."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = slope(angle, x)
        (product,) = torch.autograd.grad((v * probe).sum(), x)
    return v.detach(), (product * probe).flatten(1).sum(1)


def root_mean_square_errors(
    denoise: Denoise, schedule: NoiseSchedule, images: Tensor, noise: Iterator[Tensor], number: int
) -> Tensor:
    """Of the estimates of x_0 (number,), at log-SNRs evenly spaced over `log_snr_range`."""
    x_0, errors = to_float(images), []
    for log_snr in torch.linspace(*log_snr_range(schedule), number, dtype=torch.float64):
        t = schedule.time_at(log_snr.sigmoid().view(1)).item()
        errors.append((denoise(schedule.q_sample(x_0, t, next(noise)), t) - x_0).square().mean().sqrt())
    return torch.stack(errors)


def grey_aware(denoise: Denoise, schedule: NoiseSchedule, greys: Greys, errors: Tensor) -> Denoise:
    """The same, each pixel's estimate drawn to the grey values that are near and frequent.

    `errors` (S,) are those of `root_mean_square_errors` on training images: how far an estimate is to be trusted.
    """
    first, last = log_snr_range(schedule)

    def aware(x_t: Tensor, t: Tensor | float) -> Tensor:
        place = (schedule.snr(t).log() - first) / (last - first) * (len(errors) - 1)
        below = place.floor().clamp(0, len(errors) - 2).long()
        std = torch.lerp(errors[below], errors[below + 1], (place - below).to(errors.dtype))
        return greys.expected(denoise(x_t, t), per_sample(std, x_t))

    return aware


def log_normal(x: Tensor) -> Tensor:
    """log N(x; 0, I) (B,)."""
    flat = x.flatten(1)
    return -(flat.square().sum(1) + flat.shape[1] * math.log(2 * math.pi)) / 2
