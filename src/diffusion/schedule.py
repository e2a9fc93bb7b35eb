"""Noise schedules, and the notation of the whole package.

    x_t = sqrt(alpha_bar_t) * x_0 + sqrt(1 - alpha_bar_t) * eps,        SNR(t) = alpha_bar_t / (1 - alpha_bar_t)

t = 0 is the clean image (alpha_bar_0 = 1), t = T the last and noisiest time; beta_t = 1 - alpha_bar_t / alpha_bar_{t-1}
is the share of the variance that the step from t - 1 to t replaces by noise. Time may be real: between two integers
-log alpha_bar is linear, which is what a beta constant over that step means.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.transfer import sent

LINEAR_BETA_START, LINEAR_BETA_END, LINEAR_TIMESTEPS = 1e-4, 0.02, 1000
MAX_BETA = 0.999
MAX_SIGMA = 200.0  # sqrt(1 / SNR) from which on spacings that are even in sigma or log-SNR begin


class Level(NamedTuple):
    """A time with its alpha_bar, and all that a sampler needs to know of the noise level there."""

    time: float
    alpha_bar: float

    @property
    def signal(self) -> float:
        """sqrt(alpha_bar_t), the weight of x_0 in x_t."""
        return math.sqrt(self.alpha_bar)

    @property
    def noise(self) -> float:
        """sqrt(1 - alpha_bar_t), the weight of eps in x_t."""
        return math.sqrt(1 - self.alpha_bar)

    @property
    def half_log_snr(self) -> float:
        """lambda_t = log(signal / noise), infinite at both ends of the chain."""
        if self.signal == 0 or self.noise == 0:
            return -math.inf if self.signal == 0 else math.inf
        return math.log(self.signal / self.noise)


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The table alpha_bar[0..T] in float64, and everything that follows from it."""

    name: str
    alpha_bar: Tensor  # (T + 1,)

    def __post_init__(self) -> None:
        assert self.alpha_bar.dtype == torch.float64 and self.alpha_bar[0] == 1
        assert (self.alpha_bar.diff() < 0).all() and self.alpha_bar[-1] >= 0

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T."""
        return len(self.alpha_bar) - 1

    @property
    def beta(self) -> Tensor:
        """beta[0..T], float64 (T + 1,), with beta[0] = 0: no noise has been added to the clean image."""
        return torch.cat([torch.zeros(1, dtype=torch.float64), 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]])

    def alpha_bar_at(self, t: Tensor | float) -> Tensor:
        """alpha_bar at real times t in [0, T], float64, the shape of t; at integers exactly the table's entry."""
        t = torch.as_tensor(t, dtype=torch.float64, device="cpu")
        above = t.ceil().long()
        below = (above - 1).clamp(min=0)
        log_below, log_above = self.alpha_bar[below].log(), self.alpha_bar[above].log()
        between = (log_below + (t - below) * (log_above - log_below)).exp()
        return torch.where(t == above, self.alpha_bar[above], between)

    def time_at(self, alpha_bar: Tensor | float) -> Tensor:
        """The real times t in [0, T] with these alpha_bar, float64, of the same shape: the inverse of `alpha_bar_at`.

        Values below the table's last entry are assigned to T.
        """
        wanted = -torch.as_tensor(alpha_bar, dtype=torch.float64).log()
        decay = -self.alpha_bar.log()  # rises with t, as `wanted` does
        above = torch.searchsorted(decay, wanted).clamp(1, self.timesteps)
        share = (wanted - decay[above - 1]) / (decay[above] - decay[above - 1])
        return above - 1 + share.clamp(0, 1)

    def time_of_log_snr(self, log_snr: Tensor | float) -> Tensor:
        """The real times t in [0, T] with these log-SNRs, float64, of the same shape."""
        return self.time_at(torch.as_tensor(log_snr, dtype=torch.float64).sigmoid())

    def snr(self, t: Tensor | float) -> Tensor:
        """Signal-to-noise ratio alpha_bar / (1 - alpha_bar), float64; infinite at t = 0."""
        alpha_bar = self.alpha_bar_at(t)
        return alpha_bar / (1 - alpha_bar)

    def coefficients(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(sqrt(alpha_bar_t), sqrt(1 - alpha_bar_t)): the weights of x_0 and eps in x_t, float64, the shape of t."""
        alpha_bar = self.alpha_bar_at(t)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def q_sample(self, x_0: Tensor, t: Tensor | float, eps: Tensor) -> Tensor:
        """x_t given x_0 and eps (B, ...), at one t or a t per sample (B,). DDPM (Ho et al. 2020), eq. 4."""
        signal, noise = (per_sample(c, x_0) for c in self.coefficients(t))
        return signal * x_0 + noise * eps

    def steps(self, times: Sequence[float]) -> Iterator[tuple[Level, Level]]:
        """The pairs (t, s) of neighbouring times, each with its noise level.

        alpha_bar is taken at the time rounded to float32: exact for integers, and to a relative 6e-8 between them.
        """
        alpha_bars = self.alpha_bar_at(torch.tensor(times, dtype=torch.float32)).tolist()
        return pairwise(map(Level, times, alpha_bars))


def per_sample(coefficient: Tensor, x: Tensor) -> Tensor:
    """A scalar or (B,) coefficient as a factor of x (B, ...): with its dtype, and on its device unless it is a scalar,
    which kernels of every device read from the CPU."""
    if coefficient.ndim == 0:
        return coefficient.to(x.dtype)
    return sent(coefficient.to(x.dtype), x.device).view(-1, *[1] * (x.ndim - 1))


def from_betas(name: str, beta: Tensor) -> NoiseSchedule:
    """The schedule with the betas beta_1 .. beta_T, float64 (T,)."""
    return NoiseSchedule(name, torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)]))


def linear(timesteps: int) -> NoiseSchedule:
    """DDPM's betas 1e-4 .. 0.02, scaled by 1000 / T so that x_T is as noisy at any T.

    Raises ValueError where the scaled betas would reach 1 (T of 20 or less).
    """
    scale = LINEAR_TIMESTEPS / timesteps
    if LINEAR_BETA_END * scale >= 1:
        smallest = math.floor(LINEAR_TIMESTEPS * LINEAR_BETA_END) + 1
        raise ValueError(f"timesteps: {timesteps} makes scaled linear betas reach 1 (allowed: {smallest} or more)")
    return from_betas("linear", scale * _linear_betas(timesteps))


def linear_unscaled(timesteps: int) -> NoiseSchedule:
    """The same betas whatever T is, as they suit T = 1000: at T = 200 x_T still holds 36 % of the image's amplitude."""
    return from_betas("linear_unscaled", _linear_betas(timesteps))


def linear_zero_snr(timesteps: int) -> NoiseSchedule:
    """`linear` with sqrt(alpha_bar) shifted and rescaled to end at exactly 0 (Lin et al. 2024, algorithm 1)."""
    root = linear(timesteps).alpha_bar.sqrt()
    stretched = (root[1:] - root[-1]) * root[1] / (root[1] - root[-1])
    return NoiseSchedule("linear_zero_snr", torch.cat([root[:1], stretched]).square())


def cosine(timesteps: int, s: float = 0.008) -> NoiseSchedule:
    """alpha_bar = f(t) / f(0), f(t) = cos^2((t / T + s) / (1 + s) * pi / 2) (Nichol & Dhariwal 2021, eq. 17)."""
    f = (((_unit_times(timesteps) + s) / (1 + s)) * math.pi / 2).cos().square()
    return _from_curve("cosine", f)


def sigmoid(timesteps: int, start: float = -3, end: float = 3) -> NoiseSchedule:
    """alpha_bar falls along a logistic curve from `start` to `end` (Jabri et al. 2022, algorithm 1, tau = 1)."""
    logits = start + (end - start) * _unit_times(timesteps)
    return _from_curve("sigmoid", torch.sigmoid(-logits) - 1 / (1 + math.exp(end)))


def flow(timesteps: int) -> NoiseSchedule:
    """The straight path (1 - s) x_0 + s eps of flow matching, s = t / T (Lipman et al. 2023; Liu et al. 2023).

    x_t is the path's point divided by sqrt((1 - s)^2 + s^2), so that signal^2 + noise^2 = 1 as on every schedule. Then
    noise / (signal + noise) = s, and DDIM, which moves along the path of its estimates, is Euler's method on the flow.
    """
    s = _unit_times(timesteps)
    return NoiseSchedule("flow", (1 - s).square() / ((1 - s).square() + s.square()))


SCHEDULES: dict[str, Callable[[int], NoiseSchedule]] = {
    "linear": linear,
    "linear_unscaled": linear_unscaled,
    "cosine": cosine,
    "sigmoid": sigmoid,
    "linear_zero_snr": linear_zero_snr,
    "flow": flow,
}


def noise_schedule(name: str, timesteps: int) -> NoiseSchedule:
    """The schedule called `name` with T = `timesteps`. Raises ValueError for an unknown name or an impossible T."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule: {name!r} is unknown (allowed: {', '.join(SCHEDULES)})")
    return SCHEDULES[name](timesteps)


def trailing_times(schedule: NoiseSchedule, num_steps: int) -> list[float]:
    """Integers as even in t as possible: round(T - i T / S) (Lin et al. 2024, table 2)."""
    timesteps = schedule.timesteps
    return [*(round(timesteps - i * timesteps / num_steps) for i in range(num_steps)), 0]


def log_snr_times(schedule: NoiseSchedule, num_steps: int) -> list[float]:
    """Even in log-SNR, between its values at T and at 1 (Lu et al. 2022, section 4.1)."""
    return _times_of_sigmas(schedule, num_steps, torch.log, torch.exp)


def karras_times(schedule: NoiseSchedule, num_steps: int, rho: float = 7) -> list[float]:
    """Even in sigma^(1/rho), sigma = sqrt((1 - alpha_bar) / alpha_bar), between T and 1 (Karras et al. 2022, eq. 5)."""
    return _times_of_sigmas(schedule, num_steps, lambda sigma: sigma ** (1 / rho), lambda even: even**rho)


SPACINGS: dict[str, Callable[[NoiseSchedule, int], list[float]]] = {
    "trailing": trailing_times,
    "log_snr": log_snr_times,
    "karras": karras_times,
}


def times_from(name: str, schedule: NoiseSchedule, num_steps: int) -> list[float]:
    """num_steps + 1 falling times, the first T and the last 0, in the timestep spacing called `name`.

    Raises ValueError for an unknown name and for num_steps outside of 1 .. T.
    """
    if name not in SPACINGS:
        raise ValueError(f"times: {name!r} is unknown (allowed: {', '.join(SPACINGS)})")
    if not 1 <= num_steps <= schedule.timesteps:
        raise ValueError(f"steps: {num_steps} is not possible (allowed: 1 to timesteps = {schedule.timesteps})")
    return SPACINGS[name](schedule, num_steps)


def _times_of_sigmas(
    schedule: NoiseSchedule,
    num_steps: int,
    scale: Callable[[Tensor], Tensor],
    unscale: Callable[[Tensor], Tensor],
) -> list[float]:
    """T, then times evenly spaced in scale(sigma), the last of them 1, then 0.

    Where alpha_bar_T is so small that x_T holds nothing of the image, the even spacing begins at MAX_SIGMA.
    """
    ends = (1 / schedule.snr(torch.tensor([schedule.timesteps, 1.0]))).sqrt().clamp(max=MAX_SIGMA)
    first, last = scale(ends).tolist()
    sigma = unscale(torch.linspace(first, last, num_steps, dtype=torch.float64))
    between = schedule.time_at(1 / (1 + sigma**2)).tolist()
    return [float(schedule.timesteps), *between[1:], 0.0]


def _linear_betas(timesteps: int) -> Tensor:
    return torch.linspace(LINEAR_BETA_START, LINEAR_BETA_END, timesteps, dtype=torch.float64)


def _unit_times(timesteps: int) -> Tensor:
    return torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)


def _from_curve(name: str, curve: Tensor) -> NoiseSchedule:
    """A schedule from a falling curve (T + 1,) that may end at 0: betas are capped, so alpha_bar_T stays positive."""
    return from_betas(name, (1 - curve[1:] / curve[:-1]).clamp(max=MAX_BETA))
