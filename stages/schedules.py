"""Stage `schedules`: every noise schedule, the forward process, and when an image is no longer recognisable."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset, load_split, save_sheet, to_float, to_uint8
from diffusion.quality.judge import NOISY, Judge, noised_logits, recognisability
from diffusion.randomness import generator_for
from diffusion.schedule import NoiseSchedule
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.landmarks import (
    LOG_SNRS,
    RECOGNISABILITY,
    landmarks,
    possible_schedules,
    recognisability_rows,
    rounded,
    short_chain,
)
from stages.shared.machine import machine_of
from stages.shared.outputs import write_json, write_table

LESSON_TIMESTEPS = 1000
FORWARD_TIMES = (0, 100, 250, 500, 750, 999)  # the lesson's, which count from 0
COMPARED_TIMES = (200, 500, 800)
CURVE = ("t", "beta", "alpha_bar", "snr", "log_snr")
DIGITS = 8  # of the tables: 1 - alpha_bar is small where alpha_bar is near 1


def main(params: Params, *, data: Path, models: Path, results: Path) -> None:
    """Compare the schedules on the test split of --data with the noisy judge in --models; write to --results."""
    test = load_split(data / "test.safetensors")
    noisy_judge = Judge.load(models / "noisy_judge.safetensors", machine_of(params).device, NOISY)
    schedules, left_out = possible_schedules(params.timesteps)
    for name, schedule in schedules.items():
        write_table(results / f"{name}.csv", CURVE, curve_rows(schedule), DIGITS)

    alpha_bars = torch.tensor(LOG_SNRS, dtype=torch.float64).sigmoid().tolist()
    accuracies = recognisability(noisy_judge, test.images, test.labels, alpha_bars, params.seed)
    rows = recognisability_rows(schedules, accuracies, len(test.images))
    write_table(results / "recognisability.csv", RECOGNISABILITY, rows, DIGITS)

    shown = "linear" if "linear" in schedules else "cosine"
    image = to_float(test.images[:1])
    eps = torch.randn(image.shape, generator=generator_for(params.seed, "schedules/noise"))
    times, compared_times = (
        [our_time(lesson_t, params.timesteps) for lesson_t in of_lesson]
        for of_lesson in (FORWARD_TIMES, COMPARED_TIMES)
    )
    save_sheet(results / "forward.png", noised(schedules[shown], times, image, eps), len(times))
    if {"linear", "cosine"} <= schedules.keys():
        both = [noised(schedules[name], [0, *compared_times], image, eps) for name in ("linear", "cosine")]
        save_sheet(results / "linear_cosine.png", torch.cat(both), 1 + len(compared_times))
    figures = {
        "timesteps": params.timesteps,
        "n": len(test.images),
        "accuracy_least_noise": accuracies[0],
        "schedule": shown,
        "class": test.class_names[int(test.labels[0])],
        "forward": forward_process(schedules[shown], times, noisy_judge, test, eps),
        "compared_times": [0, *compared_times],
        **landmarks(schedules, accuracies),
        "short_chain": short_chain(),
        "left_out": left_out,
    }
    write_json(results / "metrics.json", figures)


def curve_rows(schedule: NoiseSchedule) -> Iterator[tuple[int | float | None, ...]]:
    """CURVE for t = 1 .. T; at SNR 0 there is no logarithm."""
    snrs = schedule.snr(torch.arange(1, schedule.timesteps + 1)).tolist()
    columns = schedule.beta[1:].tolist(), schedule.alpha_bar[1:].tolist(), snrs
    for t, (beta, alpha_bar, snr) in enumerate(zip(*columns, strict=True), start=1):
        yield t, beta, alpha_bar, snr, math.log(snr) if snr > 0 else None


def our_time(lesson_t: int, timesteps: int) -> int:
    """The lesson's t, which runs from 0 to 999, as ours, which runs from 1 to T."""
    return max(1, round((lesson_t + 1) * timesteps / LESSON_TIMESTEPS))


def forward_process(
    schedule: NoiseSchedule, times: Sequence[int], judge: Judge, test: Dataset, eps: Tensor
) -> list[dict[str, float | None]]:
    """The first test image at these times: alpha_bar, SNR, and the judge's probability of its class."""
    rows = []
    for t in times:
        alpha_bar, snr = float(schedule.alpha_bar[t]), float(schedule.snr(t))
        logits = noised_logits(judge, to_float(test.images[:1]), eps, alpha_bar)
        figures = {
            "alpha_bar": alpha_bar,
            "snr": snr,
            "log_snr": math.log(snr),
            "judge_probability": float(logits.softmax(1)[0, test.labels[0]]),
        }
        rows.append({"t": t, "lesson_t": t - 1} | {key: rounded(value) for key, value in figures.items()})
    return rows


def noised(schedule: NoiseSchedule, times: Sequence[int], image: Tensor, eps: Tensor) -> Tensor:
    """One image (1, C, H, W) in [-1, 1] at these times, uint8 (N, C, H, W)."""
    return to_uint8(torch.cat([schedule.q_sample(image, t, eps) for t in times]))


if __name__ == "__main__":
    run(main)
