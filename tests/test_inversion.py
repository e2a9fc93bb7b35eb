"""Images to noise and back, on Gaussian data, where the way of every point is known."""

import math
from functools import partial

import pytest
import torch

from diffusion.samplers.inversion import decode, encode, slerp
from diffusion.schedule import noise_schedule

MEAN, STD = 0.4, 0.5
SCHEDULE, ZERO_SNR = noise_schedule("linear", 1000), noise_schedule("linear_zero_snr", 1000)


def denoise(x_t, t, schedule=SCHEDULE):
    signal, noise = map(float, schedule.coefficients(t))
    return MEAN + signal * STD**2 / (signal**2 * STD**2 + noise**2) * (x_t - signal * MEAN)


@pytest.fixture
def images():
    return MEAN + STD * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("schedule", [SCHEDULE, ZERO_SNR], ids=lambda schedule: schedule.name)
def test_images_go_to_the_noise_that_the_flow_ends_in(images, schedule):
    """Quantiles stay: x_T is as many standard deviations from its mean as the image is from its own.

    Also where alpha_bar_T = 0, by which nothing may be divided.
    """
    noise = encode(partial(denoise, schedule=schedule), schedule, images, 1000)
    signal, sigma = schedule.coefficients(1000)
    expected = signal * MEAN + (signal**2 * STD**2 + sigma**2).sqrt() * (images - MEAN) / STD
    assert (noise - expected).abs().max() < 0.02


def test_the_way_back_is_nearer_the_more_steps(images):
    errors = []
    for num_steps in (10, 50, 250, 1000):
        again = decode(denoise, SCHEDULE, encode(denoise, SCHEDULE, images, num_steps), num_steps)
        errors.append((again - images).square().mean().sqrt())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.005 and errors[0] > 0.05


def test_slerp_keeps_the_length_and_divides_the_angle():
    a, b = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    a[:, 0, 0, 0], b[:, 0, 1, 1] = 3.0, 3.0
    middle = slerp(a, b, 1 / 3)
    assert middle[0, 0, 0, 0] == pytest.approx(3 * math.cos(math.pi / 6)) and middle[0].norm() == pytest.approx(3)
    assert torch.allclose(slerp(a, b, 0.0), a) and torch.allclose(slerp(a, b, 1.0), b, atol=1e-6)
    assert torch.allclose(slerp(a, a, 0.4), a, atol=1e-4)  # no angle between them
