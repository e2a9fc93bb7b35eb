"""Both bounds on pixels whose distribution is known, so that the right number of nats is."""

import math

import pytest
import torch

from diffusion.data import to_float
from diffusion.likelihood.bounds import (
    bits_per_dim,
    by_shares,
    grey_aware,
    least_noisy,
    log_density,
    log_normal,
    ode_bound,
    root_mean_square_errors,
    variational_bound,
)
from diffusion.likelihood.greys import GREYS, Greys
from diffusion.randomness import image_noise
from diffusion.schedule import noise_schedule, per_sample

MEAN, STD = -0.3, 0.6
SHAPE = (1, 8, 8)
SCHEDULE = noise_schedule("linear", 1000)


def gaussian(schedule):
    """E[x_0 | x_t] of pixels ~ N(MEAN, STD^2)."""

    def denoise(x_t, t):
        signal, noise = (per_sample(c, x_t) for c in schedule.coefficients(t))
        return MEAN + signal * STD**2 / (signal**2 * STD**2 + noise**2) * (x_t - signal * MEAN)

    return denoise


def grey_denoise(greys):
    """E[x_0 | x_t] of independent pixels with these shares of grey values."""

    def denoise(x_t, t):
        signal, noise = (per_sample(c, x_t) for c in SCHEDULE.coefficients(t))
        return (greys.log_weights(x_t, signal[..., None], noise).softmax(-1) * greys.value).sum(-1)

    return denoise


def noise(number, seed=0):
    return image_noise(seed, "likelihood", range(number), SHAPE)


def shares(number, count, seed=0):
    return torch.rand(number, count, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pixels():
    """Independent pixels, most of them black, as in digits: (64, 1, 8, 8) uint8, and their exact grey values."""
    shares = torch.full((GREYS,), 0.2 / (GREYS - 1))
    shares[0] = 0.8
    draw = torch.Generator().manual_seed(0)
    images = torch.multinomial(shares.expand(64, GREYS), 64, replacement=True, generator=draw)
    greys = Greys(to_float(torch.arange(GREYS, dtype=torch.uint8)), shares.log())
    return images.to(torch.uint8).view(64, *SHAPE), greys


@pytest.mark.parametrize(("name", "error"), [("cosine", 1e-3), ("linear", 0.06)])
def test_the_ode_finds_the_density_of_gaussian_data(name, error):
    """x_1 ~ N(signal m, signal^2 d^2 + noise^2); a divergence of the wrong sign is off by twice its integral.

    In 64 nats; linear leaves a little of the image in x_T, which counts as noise.
    """
    schedule = noise_schedule(name, 1000)
    x_1 = MEAN + STD * next(noise(16)).double()
    signal, sigma = schedule.coefficients(1)
    std = (signal**2 * STD**2 + sigma**2).sqrt()
    expected = log_normal((x_1 - signal * MEAN) / std) - x_1[0].numel() * std.log()
    found = log_density(gaussian(schedule), schedule, x_1, next(noise(16, seed=1)).sign().double(), 1e-7)
    assert (found - expected).abs().max() < error


def test_prior_and_diffusion_are_the_divergence_of_x_1_for_gaussian_data():
    """With an exact denoiser the bound is tight: KL(q(x_1 | x_0) || p(x_1)) for every single image."""
    images = torch.full((8, *SHAPE), 200, dtype=torch.uint8)
    images[4:] = 10
    runs = [
        variational_bound(
            gaussian(SCHEDULE),
            SCHEDULE,
            images,
            by_shares(SCHEDULE, Greys.of(images)),
            noise(8, run),
            shares(8, 400, run),
        )
        for run in range(4)
    ]
    found = torch.stack([bound.prior + bound.diffusion.sum(1) for bound in runs]).mean(0)
    signal, sigma = SCHEDULE.coefficients(1)
    variance = signal**2 * STD**2 + sigma**2
    shift = signal * (to_float(images).double() - MEAN)
    expected = ((sigma**2 + shift**2) / variance - 1 - (sigma**2 / variance).log()).flatten(1).sum(1) / 2
    assert (found - expected).abs().max() < 0.02 * expected.max()


def test_both_bounds_are_the_entropy_of_pixels_with_known_grey_values(pixels):
    """Exact denoiser, exact decoder: nothing is lost. DDPM's decoder would pay 0.62 bits for every black pixel."""
    images, greys = pixels
    entropy = -greys.log_share[images.flatten().long()].view(len(images), -1).sum(1)
    denoise = grey_denoise(greys)
    bound = variational_bound(denoise, SCHEDULE, images, by_shares(SCHEDULE, greys), noise(64), shares(64, 100)).total()
    by_ode = ode_bound(denoise, SCHEDULE, images, by_shares(SCHEDULE, greys), noise(64), 1e-4)
    for found in (bound, by_ode):
        difference = bits_per_dim(found - entropy, images)
        assert difference.mean().abs() < 3 * difference.std() / 8 + 0.01
    assert bits_per_dim(entropy, images).mean() == pytest.approx(2.3, abs=0.2)


def test_a_worse_denoiser_is_a_looser_bound(pixels):
    images, greys = pixels
    exact = grey_denoise(greys)
    totals = [
        variational_bound(denoise, SCHEDULE, images, by_shares(SCHEDULE, greys), noise(64), shares(64, 50))
        .total()
        .mean()
        for denoise in (exact, lambda x_t, t: 0.9 * exact(x_t, t), lambda x_t, t: 0 * x_t)
    ]
    assert totals[0] < totals[1] < totals[2]


def test_an_image_has_the_same_figures_in_any_batch(pixels):
    images, greys = pixels
    whole = variational_bound(
        gaussian(SCHEDULE), SCHEDULE, images[:4], by_shares(SCHEDULE, greys), noise(4), shares(4, 5)
    )
    part = variational_bound(
        gaussian(SCHEDULE), SCHEDULE, images[:2], by_shares(SCHEDULE, greys), noise(2), shares(4, 5)[:2]
    )
    assert (whole.total()[:2] - part.total()).abs().max() < 1e-3


def test_the_decoder_is_a_distribution_over_grey_values(pixels):
    """All 256 values that one pixel may have, given the same x_1: their probabilities sum to 1."""
    _, greys = pixels
    weights = greys.log_weights(torch.tensor([-0.995, 0.2]), torch.tensor(0.99995), torch.tensor(0.01))
    assert weights.softmax(-1).sum(-1) == pytest.approx(1) and weights.shape == (2, GREYS)
    assert weights.argmax(-1).tolist() == [0, 153]
    black = torch.zeros(2, *SHAPE, dtype=torch.uint8)
    eps = 0.3 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    nats = by_shares(SCHEDULE, Greys.of(black))(least_noisy(SCHEDULE, black, eps), black)
    assert bits_per_dim(nats, black).max() < 0.05


def test_bits_are_nats_over_log_2_per_pixel_and_channel():
    images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    assert bits_per_dim(torch.tensor([60 * math.log(2), 0.0]), images).tolist() == pytest.approx([1, 0])


def test_grey_values_repair_an_estimate_that_is_nearly_right(pixels):
    """The exact denoiser with an error of known size: what is black becomes exactly black again."""
    images, greys = pixels
    exact = grey_denoise(greys)

    def blurred(x_t, t):
        _, sigma = SCHEDULE.coefficients(t)
        error = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(3))
        return exact(x_t, t) + 0.3 * per_sample(sigma, x_t) * error

    errors = root_mean_square_errors(blurred, SCHEDULE, images, noise(64, 9), 20)
    assert (errors[5:].diff() < 0).all()  # less noise, better estimates
    aware = grey_aware(blurred, SCHEDULE, greys, errors)
    x_t = SCHEDULE.q_sample(to_float(images), 20, next(noise(64)))
    before, after = ((denoise(x_t, 20.0) - to_float(images)).square().mean() for denoise in (blurred, aware))
    assert after < before
    totals = [
        variational_bound(denoise, SCHEDULE, images, by_shares(SCHEDULE, greys), noise(64), shares(64, 30))
        .total()
        .mean()
        for denoise in (blurred, aware)
    ]
    assert totals[1] < totals[0]


def test_the_bound_holds_where_nothing_is_left_of_the_image_at_t():
    """alpha_bar_T = 0 has no log-SNR: the bound begins where sigma is 200."""
    schedule = noise_schedule("linear_zero_snr", 1000)
    images = torch.zeros(2, *SHAPE, dtype=torch.uint8)
    bound = variational_bound(
        lambda x, t: 0 * x - 1, schedule, images, by_shares(schedule, Greys.of(images)), noise(2), shares(2, 4)
    )
    assert bound.total().isfinite().all() and bound.prior.min() >= 0 and (bound.diffusion == 0).all()
