"""Stage `schedules`: every noise schedule, the forward process, and when a digit is no longer recognisable."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from diffusion.data import Dataset, load_split, to_float, to_uint8
from diffusion.files import write_text
from diffusion.quality.judge import Judge, noised_logits, recognisability
from diffusion.randomness import generator_for
from diffusion.schedule import SCHEDULES, NoiseSchedule, noise_schedule
from report.plots.grid import picture_grid
from report.plots.schedules import recognisability_curves, schedule_curves
from report.wording import number
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.machine import machine_of

LESSON_TIMESTEPS = 1000
FORWARD_TIMES = (0, 100, 250, 500, 750, 999)  # the lesson's, which count from 0
COMPARED_TIMES = (200, 500, 800)
SHORT_CHAIN = 200
LOG_SNRS = (8.0, 6.0, 4.0, 2.0, *(1 - 0.5 * i for i in range(15)), -7.0, -8.0, -10.0)
RECOGNISED = 0.5
CURVES = {"beta": ("β", True), "alpha_bar": ("ᾱ", False), "snr": ("SNR = ᾱ / (1 − ᾱ)", True)}


def main(params: Params, *, data: Path, models: Path, report: Path) -> None:
    """Compare the schedules on the test split of --data with the noisy judge in --models; write to --report."""
    test = load_split(data / "test.safetensors")
    noisy_judge = Judge.load(models / "noisy_judge.safetensors", machine_of(params).device, knows_noise=True)
    schedules, left_out = possible_schedules(params.timesteps)
    tables = {name: schedule_table(schedule) for name, schedule in schedules.items()}
    for name, table in tables.items():
        _write_table(report / f"{name}.csv", table)
    for column, (label, log_scale) in CURVES.items():
        schedule_curves(report / f"{column}.png", tables, column, label, log_scale)

    alpha_bars = torch.tensor(LOG_SNRS, dtype=torch.float64).sigmoid().tolist()
    accuracies = recognisability(noisy_judge, test.images, test.labels, alpha_bars, params.seed)
    seen = recognisability_table(schedules, accuracies, len(test.images))
    _write_table(report / "recognisability.csv", seen)
    recognisability_curves(report / "recognisability.png", seen, 1 / len(test.class_names))

    shown = "linear" if "linear" in schedules else "cosine"
    eps = torch.randn(test.images[:1].shape, generator=generator_for(params.seed, "schedules/noise"))
    forward = forward_process(schedules[shown], noisy_judge, test, eps)
    draw_forward(report / "forward.png", schedules[shown], test.images[:1], eps)
    if {"linear", "cosine"} <= schedules.keys():
        both = [schedules["linear"], schedules["cosine"]]
        draw_compared(report / "linear_cosine.png", both, test.images[:1], eps)
    figures = {
        "timesteps": params.timesteps,
        "n": len(test.images),
        "accuracy_least_noise": accuracies[0],
        "schedule": shown,
        "digit": test.class_names[int(test.labels[0])],
        "forward": forward,
        **where_schedules_are(schedules, accuracies),
        "short_chain": short_chain(),
        "left_out": left_out,
    }
    text = json.dumps(figures, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(report / "metrics.json", text + "\n")


def possible_schedules(timesteps: int) -> tuple[dict[str, NoiseSchedule], dict[str, str]]:
    """The schedules that this T can have, and for the others why it cannot."""
    schedules, left_out = {}, {}
    for name in SCHEDULES:
        try:
            schedules[name] = noise_schedule(name, timesteps)
        except ValueError as error:
            left_out[name] = str(error)
    return schedules, left_out


def schedule_table(schedule: NoiseSchedule) -> pd.DataFrame:
    """t = 1 .. T with beta, alpha_bar, snr, log_snr; at SNR 0 the logarithm is left empty."""
    t = torch.arange(1, schedule.timesteps + 1)
    snr = schedule.snr(t).numpy()
    with np.errstate(divide="ignore"):
        log_snr = np.where(snr > 0, np.log(snr), np.nan)
    columns = {"beta": schedule.beta[1:].numpy(), "alpha_bar": schedule.alpha_bar[1:].numpy()}
    return pd.DataFrame({"t": t.numpy(), **columns, "snr": snr, "log_snr": log_snr})


def recognisability_table(schedules: dict[str, NoiseSchedule], accuracies: list[float], n: int) -> pd.DataFrame:
    """The measured accuracies at the t (real) at which each schedule has that log-SNR, where it ever has."""
    rows = [
        {"schedule": name, "t": t, "log_snr": log_snr, "snr": np.exp(log_snr), "accuracy": accuracy, "n": n}
        for name, schedule in schedules.items()
        for log_snr, accuracy in zip(LOG_SNRS, accuracies, strict=True)
        if (t := time_at(schedule, _alpha_bar(log_snr))) is not None
    ]
    return pd.DataFrame(rows)


def time_at(schedule: NoiseSchedule, alpha_bar: float) -> float | None:
    """The real t in [0, T] with this alpha_bar; None if it stays above."""
    if schedule.alpha_bar[-1] > alpha_bar:
        return None
    return schedule.time_at(torch.tensor([alpha_bar], dtype=torch.float64)).item()


def unrecognisable_log_snr(accuracies: list[float]) -> float | None:
    """Where the accuracy first falls under one half on the way to more noise, between two measured points."""
    points = list(zip(LOG_SNRS, accuracies, strict=True))
    for (above, right), (below, wrong) in zip(points, points[1:], strict=False):
        if right >= RECOGNISED > wrong:
            return above + (below - above) * (right - RECOGNISED) / (right - wrong)
    return None


def where_schedules_are(schedules: dict[str, NoiseSchedule], accuracies: list[float]) -> dict[str, dict[str, Any]]:
    """Per schedule: the t at which digits become unrecognisable, the share of steps after it, and other landmarks."""
    lost = unrecognisable_log_snr(accuracies)
    alpha_bar_lost = 0.0 if lost is None else _alpha_bar(lost)
    times = {
        name: time_at(schedule, alpha_bar_lost) if lost is not None else None for name, schedule in schedules.items()
    }
    marks = {
        name: None if t is None else {"t": _rounded(t), "log_snr": _rounded(lost), "snr": _rounded(np.exp(lost))}
        for name, t in times.items()
    }
    shares = {
        name: None
        if lost is None
        else _rounded(1 - (schedules[name].timesteps if t is None else t) / schedules[name].timesteps)
        for name, t in times.items()
    }
    return {
        "unrecognisable": marks,
        "share_unrecognisable": shares,
        "half_information": {name: _rounded(time_at(schedule, 0.5)) for name, schedule in schedules.items()},
        "nearly_gone": {name: _rounded(time_at(schedule, 0.01)) for name, schedule in schedules.items()},
        "alpha_bar_T": {name: _rounded(schedule.alpha_bar[-1]) for name, schedule in schedules.items()},
    }


def short_chain() -> dict[str, Any]:
    """What alpha_bar is left at the end of a chain of 200 steps: the lesson's question about T = 200."""
    schedules, _ = possible_schedules(SHORT_CHAIN)
    left = {name: _rounded(schedule.alpha_bar[-1]) for name, schedule in schedules.items()}
    return {"timesteps": SHORT_CHAIN, "alpha_bar_T": left}


def our_time(lesson_t: int, timesteps: int) -> int:
    """The lesson's t, which runs from 0 to 999, as ours, which runs from 1 to T."""
    return max(1, round((lesson_t + 1) * timesteps / LESSON_TIMESTEPS))


def forward_process(schedule: NoiseSchedule, judge: Judge, test: Dataset, eps: Tensor) -> list[dict[str, float]]:
    """The first test image at the lesson's times: alpha_bar, SNR, and the judge's probability of its class."""
    rows = []
    for t in (our_time(lesson_t, schedule.timesteps) for lesson_t in FORWARD_TIMES):
        alpha_bar, snr = float(schedule.alpha_bar[t]), float(schedule.snr(t))
        logits = noised_logits(judge, to_float(test.images[:1]), eps, alpha_bar)
        figures = {
            "alpha_bar": alpha_bar,
            "snr": snr,
            "log_snr": float(np.log(snr)),
            "judge_probability": float(logits.softmax(1)[0, test.labels[0]]),
        }
        rows.append({"t": t, "lesson_t": t - 1} | {key: _rounded(value) for key, value in figures.items()})
    return rows


def draw_forward(path: Path, schedule: NoiseSchedule, image: Tensor, eps: Tensor) -> None:
    """One image (1, C, H, W), uint8, at the lesson's times in a row, with the SNR under each."""
    times = [our_time(lesson_t, schedule.timesteps) for lesson_t in FORWARD_TIMES]
    _draw_times(path, [schedule], times, image, eps)


def draw_compared(path: Path, schedules: list[NoiseSchedule], image: Tensor, eps: Tensor) -> None:
    """The same image and noise under several schedules, a row each, clean image first."""
    times = [0, *(our_time(lesson_t, schedules[0].timesteps) for lesson_t in COMPARED_TIMES)]
    _draw_times(path, schedules, times, image, eps)


def _draw_times(path: Path, schedules: list[NoiseSchedule], times: list[int], image: Tensor, eps: Tensor) -> None:
    noised = [[schedule.q_sample(to_float(image), t, eps) for t in times] for schedule in schedules]
    pictures = torch.stack([to_uint8(torch.cat(row)) for row in noised])  # (R, K, C, H, W)
    headings = [f"t = {t:,}\nlesson: {t - 1:,}" if t else "clean" for t in times]
    notes = [[f"SNR {number(float(schedule.snr(t)), 2)}" if t else "" for t in times] for schedule in schedules]
    names = [schedule.name for schedule in schedules] if len(schedules) > 1 else []
    picture_grid(path, pictures.permute(0, 1, 3, 4, 2).squeeze(-1).numpy(), headings, names, notes)


def _alpha_bar(log_snr: float) -> float:
    return float(1 / (1 + np.exp(-log_snr)))


def _rounded(value: float | Tensor | None) -> float | None:
    return None if value is None else float(f"{float(value):.6g}")


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))


if __name__ == "__main__":
    run(main)
