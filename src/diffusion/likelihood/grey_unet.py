"""A U-Net whose output parametrises a distribution over the grey values of every pixel, given the whole of x_t.

The network predicts what a pixel's surroundings imply for it: a mixture of frequent grey values, of normals for the
others, and of copies ("the same as the pixel on its left"), since pixels along an edge often share one grey value. The
evidence of the pixel itself, N(x_t; signal x_0, noise^2), is known exactly and multiplied in in closed form. So a pixel
that must be black is estimated as exactly black, and the network need not distinguish what noise hides.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffusion.data import to_float, to_uint8
from diffusion.denoiser import EMBEDDED_TIMES, Denoiser
from diffusion.likelihood.bounds import Decode, bits_per_dim, least_noisy, log_snr_range
from diffusion.likelihood.greys import GREYS, Greys
from diffusion.nets.table import build_net
from diffusion.objective import Draws, Loss
from diffusion.runtime import autocast
from diffusion.samplers.ode import FIRST_TIME
from diffusion.schedule import NoiseSchedule, per_sample

FREQUENT = 0.001  # the smallest share of pixels that makes a grey value a component of its own
NORMALS = 3
COPIED = ((0, 1), (0, -1), (1, 0), (-1, 0))  # steps to the neighbours whose grey value a pixel may copy
COPIES = len(COPIED)
COPY_LOG_WEIGHT = -6.0  # before training
STEP = 2 / (GREYS - 1)  # between neighbouring grey values
DIM = 2  # the dimension of components
FAR = 1e3  # beyond any grey value, but near enough for finite gradients
FEW_BITS_BELOW, SHARE_BELOW = -2.0, 0.1  # a log-SNR, and the share of training draws below it


class Mixture(NamedTuple):
    """A mixture of point masses (std 0) and normals for every pixel: (B or 1, C or 1, K, H or 1, W or 1) each."""

    log_weight: Tensor  # up to a constant
    mean: Tensor
    std: Tensor

    def seen(self, x_t: Tensor, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(posterior weight, mean) (B, C, K, H, W) of every component, given noisy pixels x_t (B, C, H, W)."""
        variance = (signal * self.std).square() + noise.square()
        away = x_t.unsqueeze(DIM) - signal * self.mean
        log_weight = self.log_weight - (variance.log() + away.square() / variance) / 2
        return log_weight.softmax(DIM), self.mean + signal * self.std.square() / variance * away


class GreyUNet(nn.Module):
    """A U-Net whose output is E[x_0 | x_t], to be trained with target x0.

    Untrained, it is nearly the exact estimate for independent pixels with the grey values of `greys`. Besides x_t, it
    receives how probable every frequent grey value is given the pixel alone.
    """

    frequent: Tensor  # (A,) grey values that are components of their own
    log_weight: Tensor  # (A + NORMALS,), like mean and std
    mean: Tensor
    std: Tensor

    def __init__(self, schedule: NoiseSchedule, greys: Greys, image_channels: int, **unet: Any) -> None:
        super().__init__()
        self.schedule = schedule
        share = greys.log_share.exp()
        frequent = share >= FREQUENT
        self.register_buffer("frequent", frequent.nonzero().flatten())
        self.atoms = len(self.frequent)
        others = torch.where(frequent, 0, share)
        bins = torch.stack([part.sum() for part in others.tensor_split(NORMALS)])
        middle = (torch.arange(NORMALS) + 0.5) * 2 / NORMALS - 1
        self.register_buffer("log_weight", torch.cat([share[frequent], bins]).log())
        self.register_buffer("mean", torch.cat([greys.value[frequent], middle]))
        self.register_buffer("std", torch.cat([torch.zeros(self.atoms), torch.full((NORMALS,), 1 / NORMALS)]))
        channels = {
            "image_channels": image_channels * (1 + self.atoms),
            "output_channels": image_channels * (self.atoms + 3 * NORMALS + COPIES),
        }
        self.unet = build_net(unet | channels)
        self.null = self.unet.null

    def forward(self, x_t: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """The estimate of x_0 (B, C, H, W) at times in [0, 1000] (B,), for labels (B,): what `Denoiser` expects."""
        mixture, signal, noise = self.mixture(x_t, time, label)
        with torch.autocast(x_t.device.type, enabled=False):
            share, mean = mixture.seen(x_t, signal, noise)
            return (share * mean).sum(DIM)

    def mixture(self, x_t: Tensor, time: Tensor, label: Tensor) -> tuple[Mixture, Tensor, Tensor]:
        """(the mixture predicted for every pixel, signal, noise (B, 1, 1, 1, 1)) at times in [0, 1000] (B,)."""
        t = time.double().cpu() * self.schedule.timesteps / EMBEDDED_TIMES
        signal, noise = (per_sample(c, x_t[:, :, None]) for c in self.schedule.coefficients(t))
        alone = self.marginal()
        share, _ = alone.seen(x_t, signal, noise)
        evidence = share[:, :, : self.atoms].flatten(1, 2)
        output = self.unet(torch.cat([x_t, evidence], dim=1), time, label).float()
        output = output.unflatten(1, (x_t.shape[1], -1))
        log_weight, mean, log_std, copied = output.split([self.atoms + NORMALS, NORMALS, NORMALS, COPIES], DIM)
        of_atoms, of_normals = alone.mean.split([self.atoms, NORMALS], DIM)
        std = (math.log(1 / NORMALS) + log_std).clamp(min=math.log(STEP / 2)).exp()
        neighbours = signal * torch.stack([x_t.roll(step, (2, 3)) for step in COPIED], DIM)
        of_atoms, zero = of_atoms.expand(*mean.shape[:2], -1, *mean.shape[3:]), torch.zeros_like(log_weight)
        return (
            Mixture(
                torch.cat([alone.log_weight + log_weight, COPY_LOG_WEIGHT + copied], DIM),
                torch.cat([of_atoms, of_normals + mean, neighbours], DIM),
                torch.cat([zero[:, :, : self.atoms], std, noise.expand_as(neighbours)], DIM),
            ),
            signal,
            noise,
        )

    def marginal(self) -> Mixture:
        """The mixture that the training data have at any pixel."""
        return Mixture(*(part.view(1, 1, -1, 1, 1) for part in (self.log_weight, self.mean, self.std)))

    def decoder(self, t: float, label: Tensor, precision: str = "fp32") -> Decode:
        """-log P(image | x_t) (B,) of uint8 images, in nats, by the probability of every pixel's own grey value.

        A normal gives each grey value the mass nearest to it, as in PixelCNN++ (Salimans et al. 2017, eq. 2).
        """

        def decode(x_t: Tensor, images: Tensor) -> Tensor:
            time = torch.full((len(x_t),), EMBEDDED_TIMES * t / self.schedule.timesteps, device=x_t.device)
            with autocast(x_t.device, precision):
                mixture, signal, noise = self.mixture(x_t, time, label)
            share, mean = mixture.seen(x_t, signal, noise)
            of_atoms, of_others = share.split([self.atoms, NORMALS + COPIES], DIM)
            is_atom = images.unsqueeze(DIM) == self.frequent.view(-1, 1, 1)
            mean, std = mean[:, :, self.atoms :], mixture.std[:, :, self.atoms :]
            std = std * noise / ((signal * std).square() + noise.square()).sqrt()
            mass = nearest(to_float(images).unsqueeze(DIM), mean, std)
            probability = (of_atoms * is_atom).sum(DIM) + (of_others * mass).sum(DIM)
            return -probability.clamp(min=torch.finfo(probability.dtype).tiny).log().flatten(1).sum(1)

        return decode


def nearest(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The probability that a normal draw is nearer to this grey value in [-1, 1] than to any other."""
    sign = torch.where(value > mean, -1, 1)  # far from the mean, the lower tail is the exact one
    upper = torch.where(value > 1 - STEP / 2, FAR, value + STEP / 2)
    lower = torch.where(value < STEP / 2 - 1, -FAR, value - STEP / 2)
    first, second = (torch.special.ndtr(sign * (edge - mean) / std) for edge in (upper, lower))
    return (first - second).abs()


def likelihood_loss(denoiser: Denoiser) -> Loss:
    """The loss of an unconditional denoiser whose network is a GreyUNet, on images of any label: the variational bound
    itself, in bits per dimension, without the prior, which has no weights.

    Every image gets one draw of log-SNR, and one image in sixteen is reconstructed.
    """
    schedule, net = denoiser.schedule, denoiser.net
    assert isinstance(net, GreyUNet)

    def loss(x_0: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        eps, eps_1 = draws.normal(x_0.shape[1:], of="noise", before=(2,))
        log_snr, weight = log_snrs(schedule, draws.stratified(draws.uniform((), of="noise").double().cpu()))
        t, null = schedule.time_of_log_snr(log_snr), torch.full_like(label, denoiser.null)
        error = (x_0 - denoiser(schedule.q_sample(x_0, t, eps), t, null)).square().flatten(1).sum(1)
        diffusion = (per_sample(weight * log_snr.exp() / 2, error) * error).mean()
        few = slice(max(1, len(x_0) // 16))
        decode = net.decoder(FIRST_TIME, null[few], denoiser.precision)
        reconstruction = decode(least_noisy(schedule, x_0[few], eps_1[few]), to_uint8(x_0[few]))
        bits = bits_per_dim(diffusion + reconstruction.mean(), x_0)
        return bits, {"loss": bits}

    return loss


def log_snrs(schedule: NoiseSchedule, share: Tensor) -> tuple[Tensor, Tensor]:
    """(log-SNR, 1 / density) (B,), on the CPU, below which these shares (B,) of their distribution lie.

    A tenth of them is below FEW_BITS_BELOW, where few bits are spent; on either side they are uniform.
    """
    first, last = log_snr_range(schedule)
    below = share < SHARE_BELOW
    widths = (FEW_BITS_BELOW - first) / SHARE_BELOW, (last - FEW_BITS_BELOW) / (1 - SHARE_BELOW)
    density = torch.where(below, *widths)
    return torch.where(below, first + share * widths[0], last - (1 - share) * widths[1]), density
