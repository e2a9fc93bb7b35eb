"""Solvers of second order that remember the last estimate of x_0: one network evaluation per step.

They step in lambda = log(signal / noise) and are exact where x_0 does not change. A step from or to an end of the
chain, where lambda is infinite, is of first order.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers.step import Sampler, Step
from diffusion.schedule import NoiseSchedule


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """DPM-Solver++(2M), deterministic (Lu et al. 2022, algorithm 2)."""
    x_t, last = next(normals), None
    for t, s in schedule.steps(times):
        x_0 = denoise(x_t, t.time)
        h = s.half_log_snr - t.half_log_snr
        weight = -s.signal * math.expm1(-h)
        x_t = s.noise / t.noise * x_t + weight * x_0
        if last and math.isfinite(h):
            last_x_0, last_h = last
            x_t = x_t + weight * h / (2 * last_h) * (x_0 - last_x_0)
        last = (x_0, h) if math.isfinite(h) else None
        yield Step(s.time, x_t, x_0)


@torch.no_grad()
def sde_dpmpp_2m(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022): the reverse SDE, with fresh noise in every step but the last.

    Its first-order part is DDIM with eta = 1; the second order comes from the change of x_0 over the step before.
    """
    x_t, last = next(normals), None
    for t, s in schedule.steps(times):
        x_0 = denoise(x_t, t.time)
        h = s.half_log_snr - t.half_log_snr
        ahead = x_0 + h / (2 * last[1]) * (x_0 - last[0]) if last and math.isfinite(h) else x_0
        fresh = -math.expm1(-2 * h)  # the share of the variance at s that is drawn anew
        x_t = s.noise / t.noise * math.exp(-h) * x_t + s.signal * fresh * ahead
        if s.noise > 0:
            x_t = x_t + s.noise * math.sqrt(fresh) * next(normals)
        last = x_0, h
        yield Step(s.time, x_t, x_0)


@torch.no_grad()
def unipc(
    denoise: Denoise, schedule: NoiseSchedule, times: Sequence[float], normals: Iterator[Tensor]
) -> Iterator[Step]:
    """UniPC of order 2, deterministic (Zhao et al. 2023, algorithms 7 and 8, B2(h) = e^h - 1).

    The predictor is a step of DPM-Solver++(2M). The corrector repeats that step once x_0 at its end is known, which
    costs no evaluation, since the next step needs this x_0 anyway.
    """
    x_t, last = next(normals), None
    for t, s in schedule.steps(times):
        x_0 = denoise(x_t, t.time)
        if last:
            x_t = last.corrected_end(x_0)
        h = s.half_log_snr - t.half_log_snr
        weight = -s.signal * math.expm1(-h)
        first_order = s.noise / t.noise * x_t + weight * x_0
        change, last_h = (x_0 - last.x_0, last.h) if last else (None, 0.0)
        last = _Prediction(h, x_0, change, last_h, first_order, weight) if math.isfinite(h) else None
        x_t = last.end() if last else first_order
        yield Step(s.time, x_t, x_0)


class _Prediction(NamedTuple):
    """A step of UniPC's predictor from t to s, kept until x_0 is known at its end."""

    h: float  # lambda_s - lambda_t
    x_0: Tensor  # estimated at t
    change: Tensor | None  # of x_0 over the step before, whose h was last_h; None in a first step
    last_h: float
    first_order: Tensor  # x_s if x_0 stayed as it is at t
    weight: float  # of x_0 in it

    def end(self) -> Tensor:
        """x_s as predicted: of order 2, or of order 1 in a first step."""
        if self.change is None:
            return self.first_order
        return self.first_order + self.weight * self.h / (2 * self.last_h) * self.change

    def corrected_end(self, x_0: Tensor) -> Tensor:
        """x_s by the corrector UniC, given x_0 there."""
        change = x_0 - self.x_0
        if self.change is None:
            return self.first_order + self.weight / 2 * change
        h, ratio = self.h, self.last_h / self.h
        linear = 1 / -math.expm1(-h) - 1 / h  # integrals of theta and theta^2, theta in [0, 1] along the step,
        square = 1 / -math.expm1(-h) - 2 / h * linear  # with weight e^(h theta), normalised
        before = (linear - square) / (1 + ratio)
        return self.first_order + self.weight * (before / ratio * self.change + (linear - before) * change)


SAMPLERS: dict[str, Sampler] = {
    "dpmpp_2m": Sampler(dpmpp_2m),
    "sde_dpmpp_2m": Sampler(sde_dpmpp_2m),
    "unipc": Sampler(unipc),
}
