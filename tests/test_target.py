"""Prediction targets, loss weights and the score, on Gaussian data where everything has a closed form."""

import pytest
import torch

from diffusion.loss import WEIGHTINGS
from diffusion.schedule import noise_schedule
from diffusion.target import (
    TARGETS,
    eps_from_score,
    eps_from_x_0,
    score_from_eps,
    score_from_x_0,
    x_0_from_score,
)

SCHEDULE = noise_schedule("linear", 1000)


@pytest.fixture
def pair():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(2, 64, 3, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("t", [1, 10, 500, 999, 1000])
def test_every_target_gives_x_0_and_eps_back(name, t, pair):
    x_0, eps = pair
    signal, noise = SCHEDULE.coefficients(t)
    x_t = SCHEDULE.q_sample(x_0, t, eps)
    target = TARGETS[name]
    found = target.to_x_0(x_t, target.value(x_0, eps, signal, noise), signal, noise)
    assert (found - x_0).abs().max() < 1e-10
    assert (eps_from_x_0(x_t, found, signal, noise) - eps).abs().max() < 1e-10


@pytest.mark.parametrize("name", TARGETS)
def test_error_scale_is_the_ratio_of_squared_errors(name, pair):
    """min-SNR weights by x_0's error whatever the network predicts: a wrong scale trains another objective."""
    x_0, eps = pair
    target, t = TARGETS[name], 300
    signal, noise = SCHEDULE.coefficients(t)
    x_t, value = SCHEDULE.q_sample(x_0, t, eps), target.value(x_0, eps, signal, noise)
    wrong = value + 0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error_x_0 = (target.to_x_0(x_t, wrong, signal, noise) - x_0).square().mean()
    ratio = (wrong - value).square().mean() / error_x_0
    torch.testing.assert_close(ratio, target.error_scale(SCHEDULE.snr(t)), rtol=1e-9, atol=0)


def test_the_velocity_of_the_flow_is_v_and_x_t_in_other_weights(pair):
    """u = (noise - signal) x_t + (signal + noise) v, so its squared error is v's times 1 + 2 signal noise: under 2."""
    x_0, eps = pair
    for t in (1, 300, 1000):
        signal, noise = SCHEDULE.coefficients(t)
        u, v = (TARGETS[name].value(x_0, eps, signal, noise) for name in ("flow", "v"))
        x_t = SCHEDULE.q_sample(x_0, t, eps)
        torch.testing.assert_close(u, (noise - signal) * x_t + (signal + noise) * v, rtol=0, atol=1e-12)
        snr = SCHEDULE.snr(t)
        ratio = TARGETS["flow"].error_scale(snr) / TARGETS["v"].error_scale(snr)
        torch.testing.assert_close(ratio, 1 + 2 * signal * noise)


@pytest.mark.parametrize("name", TARGETS)
def test_min_snr_weighs_x_0_by_the_clamped_snr(name):
    snr = torch.tensor([0.01, 1.0, 5.0, 400.0], dtype=torch.float64)
    scale = TARGETS[name].error_scale(snr)
    on_x_0 = WEIGHTINGS["min_snr"](snr, scale) * scale
    torch.testing.assert_close(on_x_0, torch.tensor([0.01, 1.0, 5.0, 5.0], dtype=torch.float64))


@pytest.mark.parametrize("t", [1, 100, 900])
def test_the_score_of_gaussian_data_has_sign_and_scale_of_the_closed_form(t):
    """x_0 ~ N(m, d^2): x_t ~ N(signal m, signal^2 d^2 + noise^2), whose score is known; E[x_0 | x_t] too."""
    m, d = 0.3, 0.5
    x_t = torch.linspace(-3, 3, 101, dtype=torch.float64)
    signal, noise = SCHEDULE.coefficients(t)
    variance = signal**2 * d**2 + noise**2
    x_0 = m + signal * d**2 / variance * (x_t - signal * m)
    expected = -(x_t - signal * m) / variance
    assert (score_from_x_0(x_t, x_0, signal, noise) - expected).abs().max() < 1e-9


@pytest.mark.parametrize("t", [1, 500, 1000])
def test_score_and_eps_give_each_other_back(t, pair):
    """The lesson: eps = -sqrt(1 - alpha_bar_t) * score."""
    x_0, eps = pair
    signal, noise = SCHEDULE.coefficients(t)
    x_t = SCHEDULE.q_sample(x_0, t, eps)
    score = score_from_eps(eps, noise)
    assert (score + eps / (1 - SCHEDULE.alpha_bar[t]).sqrt()).abs().max() < 1e-12
    assert (eps_from_score(score, noise) - eps).abs().max() < 1e-12
    assert (x_0_from_score(x_t, score_from_x_0(x_t, x_0, signal, noise), signal, noise) - x_0).abs().max() < 1e-9
