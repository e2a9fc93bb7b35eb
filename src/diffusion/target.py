"""What the network predicts (eps, x_0, v, the velocity of the flow), how each gives an estimate of x_0, and the score.

Throughout, `signal` = sqrt(alpha_bar_t) and `noise` = sqrt(1 - alpha_bar_t), so that x_t = signal * x_0 + noise * eps;
each is one number, or a tensor with an entry per image.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Weight = Tensor | float


class Target(NamedTuple):
    """A prediction target: its value, the x_0 that it implies, and its squared error per squared error of x_0."""

    value: Callable[[Tensor, Tensor, Weight, Weight], Tensor]  # (x_0, eps, signal, noise)
    to_x_0: Callable[[Tensor, Tensor, Weight, Weight], Tensor]  # (x_t, prediction, signal, noise)
    error_scale: Callable[[Tensor], Tensor]  # (snr,)


TARGETS: dict[str, Target] = {
    # Ho et al. 2020, eq. 14. Undefined where signal = 0.
    "eps": Target(
        value=lambda x_0, eps, signal, noise: eps,
        to_x_0=lambda x_t, eps, signal, noise: (x_t - noise * eps) / signal,
        error_scale=lambda snr: snr,
    ),
    "x0": Target(
        value=lambda x_0, eps, signal, noise: x_0,
        to_x_0=lambda x_t, x_0, signal, noise: x_0,
        error_scale=lambda snr: snr.new_ones(snr.shape),
    ),
    # Salimans & Ho 2022, appendix D.
    "v": Target(
        value=lambda x_0, eps, signal, noise: signal * eps - noise * x_0,
        to_x_0=lambda x_t, v, signal, noise: signal * x_t - noise * v,
        error_scale=lambda snr: snr + 1,
    ),
    # u = d/ds ((1 - s) x_0 + s eps), with s = noise / (signal + noise) on any schedule (Liu et al. 2023, eq. 1).
    "flow": Target(
        value=lambda x_0, eps, signal, noise: eps - x_0,
        to_x_0=lambda x_t, u, signal, noise: (x_t - noise * u) / (signal + noise),
        error_scale=lambda snr: (snr.sqrt() + 1).square(),
    ),
}


def eps_from_x_0(x_t: Tensor, x_0: Tensor, signal: Weight, noise: Weight) -> Tensor:
    """The eps (B, ...) that an estimate of x_0 implies, for t > 0."""
    return (x_t - signal * x_0) / noise


def score_from_eps(eps: Tensor, noise: Weight) -> Tensor:
    """grad log p(x_t) = -eps / sqrt(1 - alpha_bar_t), for eps = E[eps | x_t] (Song et al. 2021, section 3.3)."""
    return -eps / noise


def eps_from_score(score: Tensor, noise: Weight) -> Tensor:
    """The eps (B, ...) that a score implies, for t > 0: the inverse of `score_from_eps`."""
    return -noise * score


def score_from_x_0(x_t: Tensor, x_0: Tensor, signal: Weight, noise: Weight) -> Tensor:
    """grad log p(x_t), for x_0 = E[x_0 | x_t]."""
    return score_from_eps(eps_from_x_0(x_t, x_0, signal, noise), noise)


def x_0_from_score(x_t: Tensor, score: Tensor, signal: Weight, noise: Weight) -> Tensor:
    """E[x_0 | x_t] given grad log p(x_t), Tweedie's formula: the inverse of `score_from_x_0`, for signal > 0."""
    return TARGETS["eps"].to_x_0(x_t, eps_from_score(score, noise), signal, noise)
