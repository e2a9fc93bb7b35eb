"""A denoiser's loss, and the distribution of the times that it sees in training."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.denoiser import Denoiser
from diffusion.objective import Draws, Loss
from diffusion.schedule import NoiseSchedule, per_sample
from diffusion.target import TARGETS


class LossTables(NamedTuple):
    """What the loss needs at every integer time t: (T + 1,) each, fp32, on the device of training."""

    signal: Tensor  # sqrt(alpha_bar_t)
    noise: Tensor  # sqrt(1 - alpha_bar_t)
    weight: Tensor  # of the squared error; undefined at t = 0


def loss_tables(schedule: NoiseSchedule, target: str, weighting: str, device: torch.device) -> LossTables:
    """Compute the tables once, so that a training step on a GPU copies nothing to it."""
    t = torch.arange(schedule.timesteps + 1)
    snr = schedule.snr(t)
    weight = WEIGHTINGS[weighting](snr, TARGETS[target].error_scale(snr))
    return LossTables(*(table.float().to(device) for table in (*schedule.coefficients(t), weight)))


def weighted_error(
    denoiser: Denoiser, tables: LossTables, x_0: Tensor, condition: Tensor, t: Tensor, eps: Tensor
) -> Tensor:
    """Weighted mean squared error of the denoiser's target (Ho et al. 2020, eq. 14, for eps and no weighting).

    x_0, eps (B, C, H, W); condition (B, ...); t (B,) integer in [1, T].
    """
    signal, noise = (per_sample(table[t], x_0) for table in (tables.signal, tables.noise))
    prediction = denoiser.predict(signal * x_0 + noise * eps, t, condition)
    wanted = TARGETS[denoiser.target].value(x_0, eps, signal, noise)
    error = (prediction - wanted).square().mean(dim=(1, 2, 3))  # (B,)
    return (tables.weight[t] * error).mean()


def denoising_loss(denoiser: Denoiser, *, dropout: float, times: str, weighting: str) -> Loss:
    """The loss of a denoiser on clean items and their conditions, at times distributed as `TIME_SHARES[times]`.

    With probability `dropout` an item's condition becomes the null condition of the network (Ho & Salimans 2022,
    algorithm 1).
    """
    shares = TIME_SHARES[times](denoiser.schedule).float().to(denoiser.device)
    tables = loss_tables(denoiser.schedule, denoiser.target, weighting, denoiser.device)

    def loss(x_0: Tensor, condition: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        eps = draws.normal(x_0.shape[1:], of="noise")
        dropped = draws.uniform((), of="noise") < dropout
        condition = torch.where(dropped.view(-1, *[1] * (condition.ndim - 1)), denoiser.null, condition)
        t = times_at(draws.stratified(draws.uniform((), of="noise")), shares)
        error = weighted_error(denoiser, tables, x_0, condition, t, eps)
        return error, {"loss": error}

    return loss


def mirrored(loss: Loss, num_classes: int) -> Loss:
    """The same with every image mirrored left to right with probability 1/2, and labelled num_classes higher then.

    A mirror image has a condition of its own, for which nobody asks, so that mirroring doubles the data and no sample
    is mirrored (the conditioning of Karras et al. 2022, section 5).
    """

    def on_either_side(x_0: Tensor, label: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        turned = draws.uniform((), of="mirror") < 0.5
        x_0 = torch.where(turned[:, None, None, None], x_0.flip(-1), x_0)
        return loss(x_0, label + num_classes * turned, draws)

    return on_either_side


def uniform_shares(schedule: NoiseSchedule) -> Tensor:
    """Every time is equally likely (Ho et al. 2020, algorithm 1)."""
    return torch.arange(schedule.timesteps + 1, dtype=torch.float64) / schedule.timesteps


def cosine_shares(schedule: NoiseSchedule) -> Tensor:
    """Log-SNR has the density sech(log-SNR / 2), as with uniform t under the cosine schedule, whatever the schedule is
    (Kingma & Gao 2023, table 1): few times where nearly all is noise, or hardly any."""
    rising = (1 / schedule.snr(torch.arange(schedule.timesteps + 1))).sqrt().atan()
    return rising / rising[-1]


def focused_shares(schedule: NoiseSchedule) -> Tensor:
    """Nine times in ten, log-SNR is normal with mean -1 and standard deviation 1, where strokes join into digits;
    otherwise as `cosine_shares`."""
    log_snr = schedule.snr(torch.arange(schedule.timesteps + 1)).log()
    rising = torch.special.ndtr(-1 - log_snr)
    return 0.9 * rising / rising[-1] + 0.1 * cosine_shares(schedule)


# The cumulative distribution of training times: (schedule) -> the share of times up to t = 0 .. T, float64 (T + 1,),
# rising from 0 to 1.
TIME_SHARES: dict[str, Callable[[NoiseSchedule], Tensor]] = {
    "uniform": uniform_shares,
    "cosine": cosine_shares,
    "focused": focused_shares,
}


MIN_SNR_GAMMA = 5.0

# The weight of the squared error of a sample's target: (snr, error_scale of the target) -> weight.
WEIGHTINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda snr, error_scale: snr.new_ones(snr.shape),
    # Hang et al. 2023, eq. 4: min(SNR, gamma) for x_0, whatever the network predicts.
    "min_snr": lambda snr, error_scale: snr.clamp(max=MIN_SNR_GAMMA) / error_scale,
}


def times_at(share: Tensor, shares: Tensor) -> Tensor:
    """Integer times 1 .. T (B,) below which these shares (B,) in [0, 1) of a distribution lie; `shares` (T + 1,) is its
    cumulative form, one of `TIME_SHARES`."""
    return torch.searchsorted(shares, share * shares[-1], right=True).clamp(max=len(shares) - 1)
