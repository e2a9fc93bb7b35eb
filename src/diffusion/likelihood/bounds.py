"""How probable 8-bit images are under a denoiser: two upper bounds on -log P(image), which differ beyond t = 1.

Both split the image at the least noisy time, x_1 = signal_1 x_0 + noise_1 eps, and pay for its grey values given x_1.
The forward process itself dequantises: for x_1 drawn from q(x_1 | x_0),

    -log P(image) <= E[-log P(image | x_1)] + E[log q(x_1 | x_0) - log p(x_1)]        (Jensen; VDM, Kingma et al. 2021)

The variational bound takes the second part from the errors of the denoiser, the ODE from the divergence of its flow.
The denoiser must not clip x_0. All figures are in nats per image, until `bits_per_dim`.
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
    """The terms of the variational bound of every image, in nats."""

    prior: Tensor  # (B,): what x_T still knows about the image
    diffusion: Tensor  # (B, S): one for every log-SNR bin, from noise to image
    reconstruction: Tensor  # (B,): the grey values given x_1

    def total(self) -> Tensor:
        """The bound (B,)."""
        return self.prior + self.diffusion.sum(1) + self.reconstruction


def bits_per_dim(nats: Tensor, images: Tensor) -> Tensor:
    """Nats per image (B, ...) as bits per pixel and channel of images (B, C, H, W)."""
    return nats / (images[0].numel() * math.log(2))


def least_noisy(schedule: NoiseSchedule, images: Tensor, eps: Tensor) -> Tensor:
    """x_1 (B, C, H, W) of uint8 images, given eps of the same shape."""
    return schedule.q_sample(to_float(images), FIRST_TIME, eps)


def by_shares(schedule: NoiseSchedule, greys: Greys) -> Decode:
    """The decoder that knows what x_1 shows at every pixel, and how frequent grey values are.

    P(k | x_1) is proportional to share_k N(x_1; signal_1 value_k, noise_1^2). Without the shares, a pixel that is
    certainly black would cost more than a bit.
    """

    def decode(x_1: Tensor, images: Tensor) -> Tensor:
        signal, noise = (weight.to(x_1.dtype) for weight in schedule.coefficients(FIRST_TIME))
        log_weights = greys.log_weights(x_1, signal, noise).flatten(0, -2)  # (B * C * H * W, GREYS)
        nats = F.cross_entropy(log_weights, images.flatten().long(), reduction="none")
        return nats.view(len(images), -1).sum(1)

    return decode


def log_snr_range(schedule: NoiseSchedule) -> tuple[float, float]:
    """(log-SNR where the variational bound begins, log-SNR at t = 1): it begins at T, but not below MAX_SIGMA's."""
    at_last, at_first = schedule.snr(torch.tensor([schedule.timesteps, FIRST_TIME])).log().tolist()
    return max(at_last, -2 * math.log(MAX_SIGMA)), at_first


@torch.no_grad()
def variational_bound(
    denoise: Denoise,
    schedule: NoiseSchedule,
    images: Tensor,
    decode: Decode,
    normals: Iterator[Tensor],
    shares: Tensor,
) -> Bound:
    """The bound in continuous time (Kingma et al. 2021, eq. 15): the limit of DDPM's (Ho et al. 2020, eq. 5) in T.

    One draw of x_t in each of S equal log-SNR bins, at the positions `shares` (B, S) in [0, 1) within the bin.
    """
    x_0 = to_float(images)
    reconstruction = decode(least_noisy(schedule, images, next(normals)), images)
    first, last = log_snr_range(schedule)
    signal_square = 1 / (1 + math.exp(-first))
    prior = (signal_square * (x_0.square() - 1) - math.log1p(-signal_square)).flatten(1).sum(1) / 2
    width = (last - first) / shares.shape[1]
    terms = []
    for index, share in enumerate(shares.double().unbind(1)):
        log_snr = first + width * (index + share)
        t = schedule.time_of_log_snr(log_snr)
        x_t = schedule.q_sample(x_0, t, next(normals))
        error = (x_0 - denoise(x_t, t)).square().flatten(1).sum(1)
        terms.append(width / 2 * per_sample(log_snr.exp(), error) * error)
    return Bound(prior, torch.stack(terms, dim=1), reconstruction)


def ode_bound(
    denoise: Denoise,
    schedule: NoiseSchedule,
    images: Tensor,
    decode: Decode,
    normals: Iterator[Tensor],
    tolerance: float,
) -> Tensor:
    """-log P of uint8 images (B,) in nats, log p(x_1) by the probability-flow ODE (Song et al. 2021, eq. 39)."""
    eps = next(normals)
    x_1 = least_noisy(schedule, images, eps)
    _, noise_1 = schedule.coefficients(FIRST_TIME)
    log_q = log_normal(eps) - eps[0].numel() * noise_1.log().item()
    probe = next(normals).sign()
    return decode(x_1, images) + log_q - log_density(denoise, schedule, x_1, probe, tolerance)


def log_density(denoise: Denoise, schedule: NoiseSchedule, x_1: Tensor, probe: Tensor, tolerance: float) -> Tensor:
    """log p(x_1) (B,) in nats: that of the noise it flows to, plus the divergence of the flow along the way.

    The divergence is Hutchinson's estimate, unbiased for probes of random signs (Grathwohl et al. 2019, eq. 8).
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
    denoise: Denoise, schedule: NoiseSchedule, images: Tensor, normals: Iterator[Tensor], number: int
) -> Tensor:
    """Those of the estimates of x_0, (number,), at log-SNRs evenly spaced over `log_snr_range`."""
    x_0, errors = to_float(images), []
    for log_snr in torch.linspace(*log_snr_range(schedule), number, dtype=torch.float64):
        t = schedule.time_of_log_snr(log_snr).item()
        errors.append((denoise(schedule.q_sample(x_0, t, next(normals)), t) - x_0).square().mean().sqrt())
    return torch.stack(errors)


def grey_aware(denoise: Denoise, schedule: NoiseSchedule, greys: Greys, errors: Tensor) -> Denoise:
    """The same denoiser, with the estimate of every pixel pulled towards the grey values that are near and frequent.

    `errors` (S,) come from `root_mean_square_errors` on training images: they say how far to trust an estimate.
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
