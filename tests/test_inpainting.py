"""Inpainting against the conditional distribution of Gaussian data, which has a closed form."""

import pytest
import torch

from diffusion.denoiser import counted
from diffusion.samplers.inpainting import inpainted, left_half
from diffusion.samplers.step import final
from diffusion.samplers.table import SAMPLERS, SamplerSetting
from diffusion.schedule import noise_schedule

SCHEDULE = noise_schedule("flow", 1000)
MEAN = torch.tensor([0.2, -0.1], dtype=torch.float64)
STD, CORRELATION = 0.5, 0.8
COVARIANCE = STD**2 * torch.tensor([[1, CORRELATION], [CORRELATION, 1]], dtype=torch.float64)
FIRST = torch.tensor([True, False]).view(2, 1, 1)
KNOWN = 0.9


def denoise(x_t, t):
    """E[x_0 | x_t] of pairs (B, 2, 1, 1) of correlated pixels."""
    signal, noise = SCHEDULE.coefficients(t)
    of_x_t = signal**2 * COVARIANCE + noise**2 * torch.eye(2, dtype=torch.float64)
    return (MEAN + (x_t.flatten(1) - signal * MEAN) @ torch.linalg.inv(of_x_t) @ (signal * COVARIANCE)).view_as(x_t)


def normals(number=2000):
    draw = torch.Generator().manual_seed(0)
    while True:
        yield torch.randn(number, 2, 1, 1, generator=draw, dtype=torch.float64)


def drawn(steps, passes, stretches=10):
    """The second pixel where the first one is known."""
    image = torch.full((2, 1, 1), KNOWN, dtype=torch.float64)
    setting = SamplerSetting("ddim", steps, 1.0)
    return final(inpainted(setting, image, FIRST, stretches, passes)(denoise, SCHEDULE, normals()))[:, 1]


def test_many_passes_draw_from_the_conditional_distribution():
    """One pass, replacement alone, is off by almost half: what is drawn hardly knows of what is given."""
    mean, std = MEAN[1] + CORRELATION * (KNOWN - MEAN[0]), STD * (1 - CORRELATION**2) ** 0.5
    found = drawn(steps=400, passes=10, stretches=40)
    assert abs(found.mean() - mean) < 0.03 and abs(found.std() - std) < 0.02
    errors = [abs(drawn(steps=50, passes=passes).mean() - mean) for passes in (1, 5, 20)]
    assert errors[0] > 0.2 > 0.1 > errors[1] > errors[2]


def test_every_pass_begins_with_the_noise_of_its_time():
    """With nothing given x_t is distributed as the forward process says, wherever it is denoised."""
    seen = []

    def watching(x_t, t):
        signal, noise = map(float, SCHEDULE.coefficients(t))
        seen.append(x_t.std(0).flatten() / (signal**2 * STD**2 + noise**2) ** 0.5)
        return denoise(x_t, t)

    nothing = torch.tensor(False)
    final(inpainted(SamplerSetting("ddim", 50, 1.0), torch.zeros(1), nothing)(watching, SCHEDULE, normals()))
    assert (torch.stack(seen) - 1).abs().max() < 0.12


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_known_pixels_come_out_as_they_are(sampler):
    """Also by samplers of the SDE, whose last step is not x_0."""
    image, mask = torch.rand(1, 4, 6, dtype=torch.float64), left_half(6)
    schedule = noise_schedule("linear", 40)
    setting = SamplerSetting(sampler, 40 if SAMPLERS[sampler].takes_all_steps else 7)
    start = iter(torch.randn(500, 3, 1, 4, 6, dtype=torch.float64))
    x = final(inpainted(setting, image, mask)(lambda x_t, t: 0.5 * x_t, schedule, start))
    assert torch.equal(x[..., :3], image[..., :3].expand(3, 1, 4, 3)) and (x[..., 3:] != image[..., 3:]).all()


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_single_pass_with_nothing_given_is_the_sampler_itself(eta):
    setting, nothing = SamplerSetting("ddim", 10, eta), torch.tensor(False)
    walks = (setting.start, inpainted(setting, torch.zeros(1), nothing, passes=1))
    whole, parts = (final(walk(denoise, SCHEDULE, normals(9))) for walk in walks)
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("steps", [1, 3, 10, 23])
def test_every_step_is_taken_in_every_pass(steps):
    times, setting = [], SamplerSetting("ddim", steps)
    walk = inpainted(setting, torch.zeros(1), FIRST, passes=3)
    walked = [step.t for step in walk(counted(denoise, times), SCHEDULE, normals(2))]
    assert len(times) == len(walked) == 3 * steps and times[0] == 1000 and walked[-1] == 0
    assert set(walked) == set(setting.times(SCHEDULE)[1:])
