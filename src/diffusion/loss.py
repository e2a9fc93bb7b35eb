"""A denoiser's training: which times it sees, what its loss is, and the step for `fit`."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.data import to_float
from diffusion.denoiser import Denoiser
from diffusion.randomness import generator
from diffusion.schedule import NoiseSchedule, per_sample
from diffusion.target import TARGETS
from diffusion.training.batches import batch_indices
from diffusion.training.optimiser import Ema, Optimiser


class LossTables(NamedTuple):
    """What the loss needs to know of every integer time t: (T + 1,) each, fp32, on the device of training."""

    signal: Tensor  # sqrt(alpha_bar_t)
    noise: Tensor  # sqrt(1 - alpha_bar_t)
    weight: Tensor  # of the squared error; undefined at t = 0


def loss_tables(schedule: NoiseSchedule, target: str, weighting: str, device: torch.device) -> LossTables:
    """The tables, so that a training step on a GPU copies nothing to it."""
    t = torch.arange(schedule.timesteps + 1)
    snr = schedule.snr(t)
    weight = WEIGHTINGS[weighting](snr, TARGETS[target].error_scale(snr))
    return LossTables(*(table.float().to(device) for table in (*schedule.coefficients(t), weight)))


def denoising_loss(
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


def denoising_update(
    denoiser: Denoiser,
    ema: Ema,
    optimiser: Optimiser,
    images: Tensor,
    conditions: Tensor,
    *,
    batch_size: int,
    dropout: float,
    null: int,
    times: str,
    weighting: str,
    seed: int,
) -> Callable[[int], dict[str, Tensor]]:
    """The training step of a denoiser for `fit`, on N pairs of an image and a condition, both on the device.

    images (N, C, H, W) are uint8, or float as latents are; conditions (N, ...) are integers, as the network takes them.
    A sample's condition becomes `null` in every entry with probability `dropout`.
    """
    device = images.device
    shares = TIME_SHARES[times](denoiser.schedule).float().to(device)
    tables = loss_tables(denoiser.schedule, denoiser.target, weighting, device)

    def update(step: int) -> dict[str, Tensor]:
        index = batch_indices(len(images), batch_size, seed, "train", step, device)
        draw = generator(seed, "train/noise", step, device)
        x_0 = to_float(images[index])
        eps = torch.randn(x_0.shape, generator=draw, device=device)
        dropped = torch.rand(batch_size, generator=draw, device=device) < dropout
        condition = conditions[index]
        condition = torch.where(dropped.view(-1, *[1] * (condition.ndim - 1)), null, condition)
        t = stratified_times(batch_size, shares, draw)
        loss = denoising_loss(denoiser, tables, x_0, condition, t, eps)
        norm_and_rate = optimiser.descend(loss)
        ema.update(denoiser.net, step)
        return {"loss": loss.detach(), **norm_and_rate}

    return update


def uniform_shares(schedule: NoiseSchedule) -> Tensor:
    """Every time as often as any other (Ho et al. 2020, algorithm 1)."""
    return torch.arange(schedule.timesteps + 1, dtype=torch.float64) / schedule.timesteps


def cosine_shares(schedule: NoiseSchedule) -> Tensor:
    """The density sech(log-SNR / 2) that uniform t has under the cosine schedule, whatever the schedule of the times is
    (Kingma & Gao 2023, table 1): few times where all is noise, or nothing is."""
    rising = (1 / schedule.snr(torch.arange(schedule.timesteps + 1))).sqrt().atan()
    return rising / rising[-1]


def focused_shares(schedule: NoiseSchedule) -> Tensor:
    """Nine times in ten log-SNR is normal around -1 with spread 1, where strokes join into digits; else as `cosine`."""
    log_snr = schedule.snr(torch.arange(schedule.timesteps + 1)).log()
    rising = torch.special.ndtr(-1 - log_snr)
    return 0.9 * rising / rising[-1] + 0.1 * cosine_shares(schedule)


# How t is drawn: (schedule) -> the share of training times up to t = 0 .. T, float64 (T + 1,), rising from 0 to 1.
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


def stratified_times(batch_size: int, shares: Tensor, draw: torch.Generator) -> Tensor:
    """(B,) integer times 1 .. T, distributed as `shares` (T + 1,) of `TIME_SHARES` says, one from each B-th of the
    distribution: less variance between batches than independent draws. All on the device of `shares`."""
    within = torch.rand(batch_size, generator=draw, device=shares.device)
    even = (torch.arange(batch_size, device=shares.device) + within) / batch_size
    return torch.searchsorted(shares, even * shares[-1], right=True).clamp(max=len(shares) - 1)
