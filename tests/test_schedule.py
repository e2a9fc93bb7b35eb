"""Noise schedules against closed forms, papers' figures and diffusers."""

import math

import numpy as np
import pytest
import torch

from diffusion.schedule import SCHEDULES, SPACINGS, noise_schedule, times_from

diffusers = pytest.importorskip("diffusers")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("timesteps", [1000, 200, 50])
def test_starts_clean_and_only_gets_noisier(name, timesteps):
    schedule = noise_schedule(name, timesteps)
    assert schedule.alpha_bar.shape == (timesteps + 1,) and schedule.alpha_bar.dtype == torch.float64
    assert schedule.alpha_bar[0] == 1 and schedule.beta[0] == 0
    assert (schedule.snr(torch.arange(1, timesteps + 1)).diff() < 0).all()
    assert ((schedule.beta[1:] > 0) & (schedule.beta[1:] <= 1)).all()


def test_linear_is_the_lessons_at_1000_steps():
    beta = noise_schedule("linear", 1000).beta[1:]
    torch.testing.assert_close(beta, torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear", {"beta_schedule": "linear"}),
        ("cosine", {"beta_schedule": "squaredcos_cap_v2"}),
        ("linear_zero_snr", {"beta_schedule": "linear", "rescale_betas_zero_snr": True}),
    ],
)
def test_agrees_with_diffusers(name, options):
    theirs = diffusers.DDIMScheduler(num_train_timesteps=1000, **options).alphas_cumprod
    ours = noise_schedule(name, 1000).alpha_bar[1:]
    if name == "linear_zero_snr":
        theirs[-1] = 0  # theirs ends at 2^-24 so as not to divide by zero
    np.testing.assert_allclose(ours.numpy(), theirs.double().numpy(), rtol=3e-4, atol=1e-7)


def test_scaled_linear_is_as_noisy_at_any_number_of_steps():
    """The unscaled betas at T = 200 leave alpha_bar_T = 0.13: sampling would start from the wrong distribution."""
    ends = [float(noise_schedule("linear", timesteps).alpha_bar[-1]) for timesteps in (200, 500, 1000)]
    assert all(1e-5 < end < 1e-4 for end in ends)
    assert 0.12 < float(noise_schedule("linear_unscaled", 200).alpha_bar[-1]) < 0.14


def test_zero_terminal_snr_is_zero_and_keeps_the_first_step():
    zero, linear = (noise_schedule(name, 1000) for name in ("linear_zero_snr", "linear"))
    assert zero.alpha_bar[-1] == 0 and zero.snr(1000.0) == 0
    torch.testing.assert_close(zero.alpha_bar[1], linear.alpha_bar[1], rtol=1e-14, atol=0)
    assert zero.alpha_bar_at(999.5) == 0  # beta_T = 1, spread over the step, leaves nothing at once


def test_cosine_follows_its_curve_until_its_last_step():
    alpha_bar = noise_schedule("cosine", 1000).alpha_bar
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1000)]
    torch.testing.assert_close(alpha_bar[:-1], torch.tensor(f, dtype=torch.float64) / f[0], rtol=1e-11, atol=0)
    assert 0 < alpha_bar[-1] < 1e-8


@pytest.mark.parametrize("name", SCHEDULES)
def test_real_times_are_exact_at_integers_and_log_linear_between(name):
    schedule = noise_schedule(name, 100)
    times = torch.arange(101)
    assert torch.equal(schedule.alpha_bar_at(times), schedule.alpha_bar)
    between = schedule.alpha_bar_at(times[:99] + 0.25)
    expected = schedule.alpha_bar[:99] ** 0.75 * schedule.alpha_bar[1:100] ** 0.25
    torch.testing.assert_close(between, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_chain_of_single_steps_has_the_closed_forms_mean_and_variance(name):
    """x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps, composed exactly as an affine map of x_0 and its variance."""
    schedule = noise_schedule(name, 200)
    mean, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.beta.tolist()):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        signal, noise = schedule.coefficients(t)
        assert abs(mean - float(signal)) < 1e-12 and abs(variance - float(noise) ** 2) < 1e-12


def test_the_chain_of_single_steps_in_samples():
    """The same by drawing: 200,000 walks from x_0 = 0.7, within five standard errors of the closed form."""
    schedule, draw, number = noise_schedule("linear", 50), torch.Generator().manual_seed(0), 200_000
    x = torch.full((number,), 0.7, dtype=torch.float64)
    for beta in schedule.beta[1:31].tolist():
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(number, generator=draw, dtype=torch.float64)
    signal, noise = map(float, schedule.coefficients(30))
    assert abs(x.mean() - 0.7 * signal) < 5 * noise / math.sqrt(number)
    assert abs(x.std() - noise) < 5 * noise / math.sqrt(2 * number)


def test_flow_is_the_straight_path_at_unit_variance():
    """x_t is the path's (1 - s) x_0 + s eps over the root of (1 - s)^2 + s^2, so both have the same log-SNR."""
    schedule, s = noise_schedule("flow", 1000), torch.arange(1001, dtype=torch.float64) / 1000
    signal, noise = schedule.coefficients(torch.arange(1001))
    torch.testing.assert_close(noise / (signal + noise), s, rtol=0, atol=1e-12)
    assert schedule.alpha_bar[-1] == 0 and abs(schedule.alpha_bar[500] - 0.5) < 1e-15


def test_q_sample_takes_a_time_per_image_and_keeps_the_dtype():
    schedule = noise_schedule("cosine", 100)
    x_0, eps = torch.randn(2, 3, 1, 4, 4)
    x_t = schedule.q_sample(x_0, torch.tensor([0, 50, 100]), eps)
    assert x_t.dtype == torch.float32 and torch.equal(x_t[0], x_0[0])
    torch.testing.assert_close(x_t[1], schedule.q_sample(x_0, 50.0, eps)[1])
    torch.testing.assert_close(x_t[2], eps[2], rtol=0, atol=2e-3)  # sqrt(alpha_bar_T) is 5e-4


def test_tables_are_accurate_beyond_float32():
    """A float32 cumprod is off by 1e-5 at the end: the error of a float64 one against exact logs is not."""
    schedule = noise_schedule("linear", 1000)
    log = math.fsum(math.log1p(-b) for b in np.linspace(1e-4, 0.02, 1000))
    assert abs(math.log(float(schedule.alpha_bar[-1])) - log) < 1e-11


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("timesteps", "num_steps"), [(1000, 30), (1000, 50), (1000, 1000), (999, 7), (30, 1), (31, 5)])
@pytest.mark.parametrize("name", ["linear", "cosine", "linear_zero_snr"])
def test_times_are_exactly_s_distinct_steps_from_t_to_zero(name, timesteps, num_steps, spacing):
    """range(0, T, T // S) makes 31 steps of S = 30 and starts at 990: the noise of the steps never taken stays."""
    times = times_from(spacing, noise_schedule(name, timesteps), num_steps)
    assert len(times) == num_steps + 1 and times[0] == timesteps and times[-1] == 0
    assert all(t > s for t, s in zip(times, times[1:], strict=False))


@pytest.mark.parametrize("num_steps", [10, 30, 50, 77, 1000])
def test_trailing_times_agree_with_diffusers(num_steps):
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    expected = times_from("trailing", noise_schedule("linear", 1000), num_steps)[:-1]
    assert [t + 1 for t in scheduler.timesteps.tolist()] == expected


@pytest.mark.parametrize(("spacing", "scale"), [("log_snr", torch.log), ("karras", lambda sigma: sigma ** (1 / 7))])
@pytest.mark.parametrize(("name", "first"), [("linear", 0), ("cosine", 1), ("linear_zero_snr", 1)])
def test_times_are_even_on_their_scale(name, first, spacing, scale):
    """From T to 1; where x_T holds nothing of the image, from sigma = 200 on, so that steps are not spent on it."""
    schedule = noise_schedule(name, 1000)
    times = torch.tensor(times_from(spacing, schedule, 21), dtype=torch.float64)
    even = scale((1 / schedule.snr(times[first:-1])).sqrt())
    torch.testing.assert_close(even.diff(), even.diff().mean().expand(len(even) - 1), rtol=1e-6, atol=0)
    assert abs(times[-2] - 1) < 1e-9
    if first:
        start = torch.tensor(200.0, dtype=torch.float64)
        torch.testing.assert_close(even[0] - even.diff().mean(), scale(start), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_is_the_inverse_of_alpha_bar(name):
    schedule = noise_schedule(name, 1000)
    times = torch.linspace(0, 999, 778, dtype=torch.float64)
    torch.testing.assert_close(schedule.time_at(schedule.alpha_bar_at(times)), times, rtol=0, atol=1e-6)
    torch.testing.assert_close(schedule.time_of_log_snr(schedule.snr(times[1:]).log()), times[1:], rtol=0, atol=1e-6)
    beyond = torch.tensor([float(schedule.alpha_bar[-1]) / 2], dtype=torch.float64)
    assert schedule.alpha_bar[-1] == 0 or schedule.time_at(beyond) == 1000


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps_are_the_pairs_of_times_with_their_noise_levels(name):
    schedule, times = noise_schedule(name, 100), [100, 40.25, 1.0, 0]
    steps = list(schedule.steps(times))
    assert [(t.time, s.time) for t, s in steps] == [(100, 40.25), (40.25, 1.0), (1.0, 0)]
    for level in (level for pair in steps for level in pair):
        assert (level.signal, level.noise) == tuple(map(float, schedule.coefficients(level.time)))
        log_snr = float(schedule.snr(level.time).log())
        assert level.half_log_snr == log_snr / 2 or level.half_log_snr == pytest.approx(log_snr / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_schedule("linear", 20), "timesteps: 20 .*21 or more"),
        (lambda: noise_schedule("quadratic", 100), "schedule: 'quadratic'.*linear, linear_unscaled, cosine"),
        (lambda: times_from("trailing", noise_schedule("cosine", 100), 101), "steps: 101 .*1 to timesteps = 100"),
        (lambda: times_from("karras", noise_schedule("cosine", 100), 0), "steps: 0 "),
        (lambda: times_from("even", noise_schedule("cosine", 100), 5), "times: 'even'.*trailing, log_snr, karras"),
    ],
)
def test_impossible_schedules_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_linear_is_possible_from_21_steps():
    assert noise_schedule("linear", 21).beta.max() < 1
