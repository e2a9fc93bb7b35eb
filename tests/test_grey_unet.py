"""The readout against brute force, and a network that is exact before it has learnt anything."""

import pytest
import torch
from torch.distributions import Normal

from diffusion.data import to_float
from diffusion.denoiser import Conditional, Denoiser
from diffusion.likelihood.bounds import bits_per_dim, log_snr_range, variational_bound
from diffusion.likelihood.grey_unet import (
    COPIED,
    NORMALS,
    STEP,
    GreyUNet,
    Mixture,
    likelihood_loss,
    log_snrs,
    nearest,
)
from diffusion.likelihood.greys import GREYS, Greys
from diffusion.objective import Draws
from diffusion.randomness import image_noise
from diffusion.schedule import noise_schedule

SCHEDULE = noise_schedule("linear", 1000)
SHARES = {0: 0.8, 128: 0.05, 253: 0.15}
SHAPE = (1, 8, 8)


def greys_of(shares):
    """Grey values that are known to be no others."""
    share = torch.zeros(GREYS).index_put((torch.tensor(list(shares)),), torch.tensor(list(shares.values())))
    return Greys(to_float(torch.arange(GREYS, dtype=torch.uint8)), share.log())


def small_net(greys, **changes):
    torch.manual_seed(0)
    sizes = {"image_size": 8, "num_classes": 3, "patch": 2, "channels": [8, 8], "blocks": 1}
    return GreyUNet(SCHEDULE, greys, 1, attention_heads=2, dropout=0.0, **sizes | changes)


def pixels(number):
    draw = torch.Generator().manual_seed(0)
    kinds = torch.multinomial(torch.tensor(list(SHARES.values())), number * 64, replacement=True, generator=draw)
    return torch.tensor(list(SHARES), dtype=torch.uint8)[kinds].view(number, *SHAPE)


@pytest.mark.parametrize(("x_t", "signal", "noise"), [(-0.9, 0.99, 0.1), (0.3, 0.6, 0.8), (0.7, 0.9995, 0.03)])
def test_the_posterior_of_a_mixture_is_that_of_brute_force(x_t, signal, noise):
    """Two sure values and two normals, as a histogram of a hundred thousand values of x_0."""
    log_weight, mean, std = (
        torch.tensor(values, dtype=torch.float64).view(1, 1, 4, 1, 1)
        for values in ([-1.0, 0.2, 0.5, -0.3], [-1.0, 0.7, -0.2, 0.4], [0.0, 0.0, 0.3, 0.05])
    )
    seen = torch.full((1, 1, 1, 1), x_t, dtype=torch.float64), torch.tensor(signal), torch.tensor(noise)
    share, means = Mixture(log_weight, mean, std).seen(*seen)
    grid = torch.linspace(-4, 4, 100_001, dtype=torch.float64)
    weight = log_weight.flatten().exp()
    prior = sum(weight[k] * Normal(mean.flatten()[k], std.flatten()[k]).log_prob(grid).exp() for k in (2, 3))
    prior *= grid[1] - grid[0]
    values = torch.cat([mean.flatten()[:2], grid])
    posterior = torch.cat([weight[:2], prior]) * Normal(signal * values, noise).log_prob(torch.tensor(x_t)).exp()
    posterior /= posterior.sum()
    assert (share * means).sum().item() == pytest.approx((posterior * values).sum().item(), abs=1e-5)
    assert share.flatten()[:2].tolist() == pytest.approx(posterior[:2].tolist(), abs=1e-5)


@pytest.mark.parametrize("t", [1.0, 2.5, 30.0, 400.0, 1000.0])
def test_an_untrained_network_is_right_for_independent_pixels(t):
    images, greys = pixels(4), greys_of(SHARES)
    x_t = SCHEDULE.q_sample(to_float(images), t, next(image_noise(0, "readout", range(4), SHAPE)))
    signal, noise = (c.float() for c in SCHEDULE.coefficients(t))
    exact = (greys.log_weights(x_t, signal, noise).softmax(-1) * greys.value).sum(-1)
    found = Denoiser(small_net(greys), SCHEDULE, "x0")(x_t, t, torch.full((4,), 3))
    assert (found - exact).abs().max() < 0.05  # copies of neighbours weigh little before training


@torch.no_grad()
@pytest.mark.parametrize(("copy", "step"), list(enumerate(COPIED)))
def test_a_copy_is_the_posterior_of_a_value_that_is_seen_twice(copy, step):
    """A value ~ N(0, 1) that both this pixel and the neighbour show, each with noise of its own."""
    net = small_net(greys_of(SHARES), patch=1)
    net.unet.head[-1].bias[net.atoms + 3 * NORMALS + copy] = 1e5
    x_t = next(image_noise(0, "readout", range(2), SHAPE))
    t = 30.0
    signal, noise = (c.float() for c in SCHEDULE.coefficients(t))
    precision = 1 + 2 * signal**2 / noise**2
    expected = signal / noise**2 * (x_t + x_t.roll(step, (2, 3))) / precision
    found = Denoiser(net, SCHEDULE, "x0")(x_t, t, torch.full((2,), 3))
    assert (found - expected)[:, :, 1:-1, 1:-1].abs().max() < 1e-4


@torch.no_grad()
def test_the_bound_of_an_exact_readout_is_the_entropy():
    images, greys = pixels(64), greys_of(SHARES)
    net = small_net(greys)
    null = torch.full((64,), net.null)
    shares = torch.rand(64, 100, generator=torch.Generator().manual_seed(0))
    bound = variational_bound(
        Conditional(Denoiser(net, SCHEDULE, "x0"), null),
        SCHEDULE,
        images,
        net.decoder(1.0, null),
        image_noise(0, "readout", range(64), SHAPE),
        shares,
    )
    entropy = -greys.log_share[images.flatten().long()].view(64, -1).sum(1)
    difference = bits_per_dim(bound.total() - entropy, images)
    assert difference.mean().abs() < 3 * difference.std() / 8 + 0.005
    assert bits_per_dim(entropy, images).mean() == pytest.approx(0.88, abs=0.05)


@pytest.mark.parametrize(("mean", "std"), [(-1.3, 0.5), (-0.999, 0.004), (0.1, 0.02), (0.998, 0.1), (1.2, 3.0)])
def test_a_normal_is_shared_out_among_the_grey_values(mean, std):
    """All of it, with gradients that are finite; the middle values get their part of the density."""
    value = to_float(torch.arange(GREYS, dtype=torch.uint8))
    mean, std = torch.tensor(mean, requires_grad=True), torch.tensor(std, requires_grad=True)
    mass = nearest(value, mean, std)
    assert mass.sum().item() == pytest.approx(1, abs=1e-5) and mass.min() >= 0
    middle = (STEP * Normal(mean, std).log_prob(value).exp())[1:-1]
    assert (mass[1:-1] - middle).abs().max() < 0.07 * mass.max()
    mass.clamp(min=1e-30).log().sum().backward()
    assert mean.grad.isfinite() and std.grad.isfinite()


def test_draws_of_log_snr_weigh_as_much_as_their_range():
    """The weighted mean of any function is its integral; few draws are where few bits are paid."""
    draws = Draws(0, "train", 0, torch.device("cpu"), 1000)
    log_snr, weight = log_snrs(SCHEDULE, draws.stratified(draws.uniform((), of="noise").double()))
    first, last = log_snr_range(SCHEDULE)
    assert weight.mean().item() == pytest.approx(last - first, rel=1e-6)
    assert (weight * log_snr.square()).mean().item() == pytest.approx((last**3 - first**3) / 3, rel=1e-3)
    assert (log_snr < -2).sum() == 100 and first <= log_snr.min() < log_snr.max() <= last


def test_the_loss_is_the_bound_in_bits_per_dimension():
    """Of an exact network: on average the entropy of its pixels."""
    images, greys = pixels(64), greys_of(SHARES)
    net = small_net(greys)
    loss, label = likelihood_loss(Denoiser(net, SCHEDULE, "x0")), torch.zeros(64, dtype=torch.long)
    draws = (Draws(0, "train", step, torch.device("cpu"), 64) for step in range(20))
    losses = torch.stack([loss(to_float(images), label, of_step)[1]["loss"].detach() for of_step in draws])
    entropy = bits_per_dim(-greys.log_share[images.flatten().long()].view(64, -1).sum(1), images).mean()
    assert (losses.mean() - entropy).abs() < 3 * losses.std() / 20**0.5 + 0.005
