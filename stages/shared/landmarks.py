"""Landmarks of noise schedules: the t at which images are no longer recognised, and at which their variance is gone."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from diffusion.schedule import SCHEDULES, NoiseSchedule, noise_schedule

LOG_SNRS = (8.0, 6.0, 4.0, 2.0, *(1 - 0.5 * i for i in range(15)), -7.0, -8.0, -10.0)
RECOGNISED = 0.5
RECOGNISABILITY = ("schedule", "t", "log_snr", "snr", "accuracy", "n")
SHORT_CHAIN = 200


def possible_schedules(timesteps: int) -> tuple[dict[str, NoiseSchedule], dict[str, str]]:
    """The schedules that this T can have, and for the others why it cannot."""
    schedules, left_out = {}, {}
    for name in SCHEDULES:
        try:
            schedules[name] = noise_schedule(name, timesteps)
        except ValueError as error:
            left_out[name] = str(error)
    return schedules, left_out


def recognisability_rows(
    schedules: dict[str, NoiseSchedule], accuracies: Sequence[float], n: int
) -> Iterator[tuple[str | int | float, ...]]:
    """RECOGNISABILITY at the t (real) at which each schedule has each of LOG_SNRS, if it ever does."""
    for name, schedule in schedules.items():
        for log_snr, accuracy in zip(LOG_SNRS, accuracies, strict=True):
            t = time_at(schedule, alpha_bar_of(log_snr))
            if t is not None:
                yield name, t, log_snr, math.exp(log_snr), accuracy, n


def time_at(schedule: NoiseSchedule, alpha_bar: float) -> float | None:
    """The real t in [0, T] with this alpha_bar; None if it stays above."""
    if schedule.alpha_bar[-1] > alpha_bar:
        return None
    return schedule.time_at(torch.tensor([alpha_bar], dtype=torch.float64)).item()


def unrecognisable_log_snr(accuracies: Sequence[float]) -> float | None:
    """Where the accuracy first falls under one half on the way to more noise, between two measured points."""
    points = list(zip(LOG_SNRS, accuracies, strict=True))
    for (above, right), (below, wrong) in zip(points, points[1:], strict=False):
        if right >= RECOGNISED > wrong:
            return above + (below - above) * (right - RECOGNISED) / (right - wrong)
    return None


def landmarks(schedules: dict[str, NoiseSchedule], accuracies: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Per schedule: the t at which images become unrecognisable, the share of steps after it, and other landmarks."""
    lost = unrecognisable_log_snr(accuracies)
    found: dict[str, dict[str, Any]] = {
        key: {} for key in ("unrecognisable", "share_unrecognisable", "half_information", "nearly_gone", "alpha_bar_T")
    }
    for name, schedule in schedules.items():
        t = None if lost is None else time_at(schedule, alpha_bar_of(lost))
        at = {} if t is None or lost is None else {"t": t, "log_snr": lost, "snr": math.exp(lost)}
        share = 1 - (schedule.timesteps if t is None else t) / schedule.timesteps
        found["unrecognisable"][name] = {key: rounded(value) for key, value in at.items()} or None
        found["share_unrecognisable"][name] = None if lost is None else rounded(share)
        found["half_information"][name] = rounded(time_at(schedule, 0.5))
        found["nearly_gone"][name] = rounded(time_at(schedule, 0.01))
        found["alpha_bar_T"][name] = rounded(float(schedule.alpha_bar[-1]))
    return found


def short_chain() -> dict[str, Any]:
    """What alpha_bar is left at the end of a chain of 200 steps: the lesson's question about T = 200."""
    schedules, _ = possible_schedules(SHORT_CHAIN)
    left = {name: rounded(float(schedule.alpha_bar[-1])) for name, schedule in schedules.items()}
    return {"timesteps": SHORT_CHAIN, "alpha_bar_T": left}


def alpha_bar_of(log_snr: float) -> float:
    """The logistic function: alpha_bar at a log-SNR."""
    return 1 / (1 + math.exp(-log_snr))


def rounded(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None else float(f"{value:.6g}")
