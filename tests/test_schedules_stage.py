"""Where schedules are: landmarks in t and in SNR, from known curves."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from diffusion.schedule import NoiseSchedule, noise_schedule
from stages import schedules
from stages.shared import landmarks


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_time_at_inverts_the_schedule_at_real_times(name):
    schedule = noise_schedule(name, 100)
    for t in (0.0, 1.0, 17.3, 50.0, 99.6, 100.0):
        assert landmarks.time_at(schedule, float(schedule.alpha_bar_at(t))) == pytest.approx(t, abs=1e-6)


def test_a_schedule_that_stays_above_has_no_time():
    assert landmarks.time_at(noise_schedule("linear_unscaled", 200), 0.1) is None
    assert landmarks.time_at(noise_schedule("linear_zero_snr", 200), 1e-12) <= 200


def test_schedules_that_this_t_cannot_have_are_left_out_with_a_reason():
    there, left_out = landmarks.possible_schedules(20)
    assert set(left_out) == {"linear", "linear_zero_snr"} and "timesteps: 20" in left_out["linear"]
    assert set(there) == {"linear_unscaled", "cosine", "sigmoid", "flow"}


@pytest.mark.parametrize("name", ["linear", "linear_zero_snr"])
def test_tables_leave_the_infinite_out(name):
    table = pd.DataFrame(schedules.curve_rows(noise_schedule(name, 50)), columns=schedules.CURVE)
    assert table["t"].tolist() == list(range(1, 51))
    assert np.isfinite(table["snr"]).all() and not np.isinf(table["log_snr"]).any()
    assert table["log_snr"].isna().sum() == (name == "linear_zero_snr")
    assert np.allclose(table["alpha_bar"], np.cumprod(1 - table["beta"]))


def test_half_accuracy_is_found_between_two_points():
    accuracies = [0.9 if log_snr > -2 else 0.4 for log_snr in landmarks.LOG_SNRS]  # from 0.9 at -1.5 to 0.4 at -2
    assert landmarks.unrecognisable_log_snr(accuracies) == pytest.approx(-1.5 - 0.5 * 0.4 / 0.5)
    assert landmarks.unrecognisable_log_snr([0.9] * len(accuracies)) is None


def test_landmarks_of_a_known_schedule():
    alpha_bar = torch.cat([torch.ones(1), torch.linspace(0.9, 0.0, 10)]).double()
    schedule = {"known": NoiseSchedule("known", alpha_bar)}
    accuracies = [0.75 if log_snr > 0 else 0.25 for log_snr in landmarks.LOG_SNRS]  # 0.75 at 0.5, 0.25 at 0
    found = landmarks.landmarks(schedule, accuracies)
    assert found["unrecognisable"]["known"]["log_snr"] == pytest.approx(0.25)
    wanted = 1 / (1 + math.exp(-0.25))  # 0.562: between alpha_bar 0.6 (t = 4) and 0.5 (t = 5), log-linear
    t = 4 + math.log(0.6 / wanted) / math.log(0.6 / 0.5)
    assert found["unrecognisable"]["known"]["t"] == pytest.approx(t, abs=1e-4)
    assert found["share_unrecognisable"]["known"] == pytest.approx(1 - t / 10, abs=1e-4)
    assert found["half_information"]["known"] == pytest.approx(5)
    never = landmarks.landmarks(schedule, [0.9] * len(accuracies))
    assert never["unrecognisable"]["known"] is None and never["share_unrecognisable"]["known"] is None


def test_the_lessons_times_scale_and_stay_in_range():
    assert [schedules.our_time(t, 1000) for t in (0, 100, 250, 500, 750, 999)] == [1, 101, 251, 501, 751, 1000]
    assert [schedules.our_time(t, 200) for t in (0, 500, 999)] == [1, 100, 200]
    assert [schedules.our_time(t, 10) for t in (0, 999)] == [1, 10]


def test_a_short_chain_of_the_lessons_betas_keeps_a_third_of_the_image():
    left = landmarks.short_chain()["alpha_bar_T"]
    assert math.sqrt(left["linear_unscaled"]) == pytest.approx(0.3636, abs=1e-3) and left["linear"] < 1e-4


def test_recognisability_is_placed_at_the_time_of_its_snr():
    schedule = noise_schedule("cosine", 1000)
    accuracies = list(np.linspace(1, 0, len(landmarks.LOG_SNRS)))
    rows = landmarks.recognisability_rows({"cosine": schedule}, accuracies, 7)
    table = pd.DataFrame(rows, columns=landmarks.RECOGNISABILITY)
    assert table["n"].eq(7).all() and table["t"].is_monotonic_increasing and len(table) == len(accuracies)
    snr = schedule.snr(torch.tensor(table["t"].to_numpy())).log().numpy()
    assert np.allclose(snr, table["log_snr"], atol=1e-6)
