"""Mixtures of Gaussians: closed forms against autograd and sampling, and a net that learns one."""

import pytest
import torch

from diffusion.denoiser import Denoiser
from diffusion.mixture import MIXTURES, exact_denoise, mixture_loss
from diffusion.nets.mlp import Mlp
from diffusion.samplers.step import final
from diffusion.samplers.table import SamplerSetting
from diffusion.schedule import noise_schedule
from diffusion.target import score_from_x_0
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser

SCHEDULE = noise_schedule("linear", 1000)


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("t", [0, 1, 300, 1000])
def test_the_score_is_the_gradient_of_the_log_density(name, t):
    mixture = MIXTURES[name]().noised(*SCHEDULE.coefficients(t))
    x = 1.5 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(mixture.log_density(x).sum(), x)
    assert (mixture.score(x) - expected).abs().max() < 1e-9 * expected.abs().max()


@pytest.mark.parametrize("name", MIXTURES)
def test_the_density_integrates_to_1_and_is_that_of_the_samples(name):
    """A grid of 0.02; the mean log-density of samples is minus the entropy, which the grid gives too."""
    mixture = MIXTURES[name]()
    axis = torch.arange(-2.5, 2.5, 0.02, dtype=torch.float64)
    log_density = mixture.log_density(torch.cartesian_prod(axis, axis))
    mass = log_density.exp() * 0.02**2
    assert mass.sum() == pytest.approx(1, abs=1e-6)
    found = mixture.log_density(mixture.sample(20_000, torch.Generator().manual_seed(0)))
    assert abs(found.mean() - (mass * log_density).sum()) < 5 * found.std() / 20_000**0.5


@pytest.mark.parametrize("name", MIXTURES)
def test_noised_points_are_distributed_as_the_noised_mixture(name):
    mixture, draw = MIXTURES[name](), torch.Generator().manual_seed(0)
    x_0 = mixture.sample(20_000, draw)
    x_t = SCHEDULE.q_sample(x_0, 300, torch.randn(x_0.shape, generator=draw, dtype=x_0.dtype))
    noised = mixture.noised(*SCHEDULE.coefficients(300))
    found, expected = noised.log_density(x_t), noised.log_density(noised.sample(20_000, draw))
    assert abs(found.mean() - expected.mean()) < 5 * found.std() / 10_000**0.5


def test_the_exact_denoiser_goes_back_to_the_closed_form_score():
    mixture = MIXTURES["uneven"]()
    x = torch.randn(50, 2, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signal, noise = SCHEDULE.coefficients(400)
    found = score_from_x_0(x, exact_denoise(mixture, SCHEDULE)(x, 400), signal, noise)
    expected = mixture.noised(signal, noise).score(x.flatten(1))
    assert (found.flatten(1) - expected).abs().max() < 1e-9


def test_the_exact_denoiser_answers_the_mean_where_nothing_is_left_of_the_image():
    mixture, x = MIXTURES["uneven"](), torch.randn(5, 2, 1, 1)
    found = exact_denoise(mixture, noise_schedule("flow", 100))(x, 100)
    expected = 0.6 * torch.tensor([-0.8, -0.5]) + 0.3 * torch.tensor([0.8, -0.4]) + 0.1 * torch.tensor([0.1, 0.9])
    assert found.dtype == x.dtype and torch.allclose(found, expected.view(1, 2, 1, 1).expand(5, 2, 1, 1))


@pytest.mark.parametrize(
    "setting",
    [
        SamplerSetting("heun", 100, spacing="log_snr"),
        SamplerSetting("euler_maruyama", 1000),
        SamplerSetting("predictor_corrector", 500),
    ],
)
def test_samplers_with_the_exact_score_find_every_component_by_its_weight(setting):
    mixture, draw = MIXTURES["uneven"](), torch.Generator().manual_seed(0)

    def noise():
        while True:
            yield torch.randn(4000, 2, 1, 1, generator=draw, dtype=torch.float64)

    points = final(setting.start(exact_denoise(mixture, SCHEDULE), SCHEDULE, noise())).flatten(1)
    shares = mixture.log_components(points).argmax(1).bincount(minlength=3) / 4000
    real = mixture.log_components(mixture.sample(4000, draw)).argmax(1).bincount(minlength=3) / 4000
    assert (shares - real).abs().max() < 0.05
    assert abs(mixture.log_density(points).mean() - mixture.log_density(mixture.sample(4000, draw)).mean()) < 0.1


def test_a_small_net_learns_the_score():
    torch.manual_seed(0)
    net, mixture = Mlp(dimensions=2, width=64, layers=2), MIXTURES["uneven"]()
    ema, optimiser = Ema(net, 0.99), Optimiser(net.parameters(), 0.003, 300)
    learners = {"denoiser": Learner(net, mixture_loss(Denoiser(net, SCHEDULE, "v"), mixture), optimiser, ema)}
    nothing = torch.zeros(256)
    update = training_step(learners, nothing, nothing, batch_size=256, seed=0, purpose="mixture")
    list(fit(update, state_of(learners), 300, 100))
    signal, noise = SCHEDULE.coefficients(300)
    noised = mixture.noised(signal, noise)
    x = noised.sample(2000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        points = x.float().view(-1, 2, 1, 1)
        x_0 = Denoiser(ema.net, SCHEDULE, "v")(points, 300, torch.zeros(2000, dtype=torch.int64))
    error = score_from_x_0(points, x_0, signal, noise).flatten(1) - noised.score(x)
    assert error.square().mean() < 0.1 * noised.score(x).square().mean()
