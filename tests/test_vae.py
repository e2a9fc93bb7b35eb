"""The VAE: probabilities that sum to 1, bounds in closed form, exact on a linear Gaussian, and a resume to the bit."""

import math

import pytest
import torch
from torch.distributions import Normal

from diffusion.baselines.coders import Decoder, Encoder
from diffusion.baselines.vae import Logistics, VaeModel, bounds, importance_bound, load_vae, log_weight, vae_loss
from diffusion.baselines.vae_net import Vae
from diffusion.data import to_float
from diffusion.gaussian import STANDARD, Gaussian
from diffusion.tensors import save_model
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser

NET = {"image_size": 8, "image_channels": 1, "num_classes": 3, "latent": 4, "mixtures": 2, "patch": 1}
NET |= {"channels": [8, 16], "blocks": 1}
CPU = torch.device("cpu")


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_vae():
    torch.manual_seed(0)
    net = Vae(**NET)
    for parameter in net.parameters():  # blocks start as the identity, so that no class would matter
        parameter.data += 0.02 * torch.randn_like(parameter)
    return net


def some_images(number=20):
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (number, 1, 8, 8), generator=draw, dtype=torch.uint8), torch.arange(number) % 3


@pytest.mark.parametrize("log_scale", [-20.0, -5.0, -1.0, 3.0])
@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.3, 1.0])
def test_the_probabilities_of_a_pixel_sum_to_1(mean, log_scale):
    """All 256 values as one image: a density in place of a mass, or tails left out, fail here."""
    every = to_float(torch.arange(256, dtype=torch.uint8)).view(256, 1, 1, 1)
    one = torch.ones(256, 1, 1, 1, 1, dtype=torch.float64)
    parts = (
        torch.cat([0 * one, one], dim=1),
        torch.cat([mean * one, -mean * one], dim=1),
        (log_scale * one).repeat(1, 2, 1, 1, 1),
    )
    log_p = Logistics(*parts).log_probability(every.double())
    assert log_p.isfinite().all() and log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_one_logistic_is_the_difference_of_its_distribution_function():
    x = to_float(torch.tensor([0, 1, 100, 254, 255], dtype=torch.uint8)).double().view(5, 1, 1, 1)
    mean, scale = 0.2, 0.3
    log_p = Logistics(
        *(torch.full((5, 1, 1, 1, 1), v, dtype=torch.float64) for v in (7.0, mean, math.log(scale)))
    ).log_probability(x)
    upper, lower = ((x.flatten() + sign / 255 - mean) / scale for sign in (1, -1))
    upper[-1], lower[0] = math.inf, -math.inf
    assert (log_p.exp() - (upper.sigmoid() - lower.sigmoid())).abs().max() < 1e-7


def test_pixels_and_channels_add_up_and_the_mean_is_weighted():
    logits, mean, log_scale = draws(3, 2, 2, 3, 4, 4).unbind(0)
    x = to_float(torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8))
    whole = Logistics(logits, mean, log_scale)
    parts = [
        Logistics(*(p[..., i : i + 1, j : j + 1] for p in whole)).log_probability(x[..., i : i + 1, j : j + 1])
        for i in range(4)
        for j in range(4)
    ]
    assert (whole.log_probability(x) - sum(parts)).abs().max() < 1e-3
    far = Logistics(
        torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1, 1),
        torch.tensor([0.5, -9.0]).view(1, 2, 1, 1, 1),
        log_scale[:1, :2, :1, :1, :1],
    )
    assert far.expectation().item() == pytest.approx(0.25 * 0.5 - 0.75)


class Linear:
    """x = a z + noise in one dimension, where everything is known: p(x) = N(0, a^2 + s^2)."""

    def __init__(self, a=1.5, s=0.5, number=6):
        self.a, self.s, self.x = a, s, draws(number, 1, seed=4)

    def log_likelihood(self, z):
        return Normal(self.a * z, self.s).log_prob(self.x).sum(1)

    def evidence(self):
        return Normal(0.0, math.hypot(self.a, self.s)).log_prob(self.x).sum(1)

    def posterior(self):
        precision = self.a**2 / self.s**2 + 1
        mean = self.a / self.s**2 / precision * self.x
        return Gaussian(mean, torch.full_like(mean, -math.log(precision)))


def test_with_the_true_posterior_every_weight_is_the_evidence():
    """A sign or a constant missing in p(z) or q(z | x) shows here."""
    linear = Linear()
    weights = torch.stack(
        [log_weight(linear.posterior(), STANDARD, linear.log_likelihood, draws(6, 1, seed=k)) for k in range(5)]
    )
    assert (weights - linear.evidence()).abs().max() < 1e-4
    assert (importance_bound(weights) - linear.evidence()).abs().max() < 1e-4


def test_with_another_posterior_the_bounds_rise_from_the_elbo_to_the_evidence():
    linear = Linear()
    mean, log_variance = linear.posterior()
    wrong = Gaussian(mean + 0.2, log_variance + 0.5)
    weights = torch.stack(
        [log_weight(wrong, STANDARD, linear.log_likelihood, draws(6, 1, seed=k)) for k in range(4000)]
    )
    elbo, evidence = weights.mean(0), linear.evidence()
    of_5, of_50 = (importance_bound(part).view(-1, 6).mean(0) for part in (weights.view(5, -1), weights.view(50, -1)))
    assert (elbo < of_5).all() and (of_5 < of_50).all() and (of_50 < evidence + 0.01).all()
    # E_q[log p(x | z)] in closed form, less the KL
    variance = (log_variance + 0.5).exp()
    error = (linear.x - linear.a * wrong.mean).square() + linear.a**2 * variance
    expected = -0.5 * (error / linear.s**2 + math.log(2 * math.pi * linear.s**2)).sum(1) - wrong.kl_to(STANDARD).sum(1)
    assert (elbo - expected).abs().max() < 0.1


def test_bounds_of_a_network_are_ordered_and_know_no_batches():
    model, (images, labels) = VaeModel(small_vae().eval()), some_images()
    found = bounds(model, images, labels, 5, seed=0, batch_size=20)
    assert found.elbo.shape == (20,) and (found.elbo < found.importance).all() and (found.kl > 0).all()
    assert torch.equal(bounds(model, images, labels, 1, 0, 20).elbo, bounds(model, images, labels, 1, 0, 20).importance)
    uniform = 64 * math.log(256)
    assert 0.2 * uniform < -found.elbo.mean() < 5 * uniform


def test_images_are_within_their_range_and_depend_on_latent_and_class():
    model, z = VaeModel(small_vae().eval()), draws(2, 4)
    first, other = (model(z, torch.tensor(label)) for label in ([0, 0], [0, 1]))
    assert first.shape == (2, 1, 8, 8) and first.abs().max() <= 1
    assert torch.allclose(first[0], other[0], atol=1e-5) and (first[1] - other[1]).abs().max() > 1e-4
    assert (first[0] - first[1]).abs().max() > 1e-4


@pytest.mark.parametrize(("size", "channels", "patch"), [(28, 1, 2), (32, 3, 2), (8, 1, 1)])
def test_encoder_and_decoder_fit_the_image(size, channels, patch):
    encoder = Encoder(size, channels, 10, patch, [8, 16], 1, outputs=7)
    decoder = Decoder(size, 10, 5, patch, [8, 16], 1, outputs=channels)
    label = torch.tensor([3, 4])
    assert encoder(draws(2, channels, size, size), label).shape == (2, 7)
    assert decoder(draws(2, 5), label).shape == (2, channels, size, size)


def test_images_that_cannot_be_halved_so_often_are_refused():
    for build in (
        lambda: Encoder(28, 1, 10, 4, [8, 8], 1, outputs=1),
        lambda: Decoder(28, 10, 5, 4, [8, 8], 1, outputs=1),
    ):
        with pytest.raises(ValueError, match="28x28 cannot be divided by 8"):
            build()


def small_training(steps):
    net = small_vae()
    ema, optimiser = Ema(net, 0.9), Optimiser(net.parameters(), 3e-3, steps, warmup_steps=3)
    learners = {"vae": Learner(net, vae_loss(VaeModel(net), kl_weight=2.0, kl_warmup_steps=4), optimiser, ema)}
    return training_step(learners, *some_images(), batch_size=8, seed=0, purpose="vae"), learners


def test_training_lowers_the_bits_of_what_it_saw():
    update, learners = small_training(60)
    bits = [progress.means["loss"] for progress in fit(update, state_of(learners), 60, 10)]
    assert bits[-1] < bits[0] - 0.3


def test_a_file_gives_the_same_vae_back_and_no_other(tmp_path):
    net, path = small_vae(), tmp_path / "vae.safetensors"
    save_model(path, "vae", net.state_dict(), {"net": NET})
    model, description = load_vae(path, CPU, "fp32")
    z, label = draws(2, 4), torch.tensor([0, 2])
    assert description["net"] == NET and torch.allclose(model(z, label), VaeModel(net)(z, label), atol=1e-6)
    save_model(path, "gan", net.state_dict(), {"net": NET})
    with pytest.raises(ValueError, match="vae.safetensors: holds 'gan' .*expected 'vae'"):
        load_vae(path, CPU, "fp32")
    save_model(path, "vae", net.state_dict(), {"net": NET | {"latent": 5}})
    with pytest.raises(ValueError, match="vae.safetensors: weights and description do not fit"):
        load_vae(path, CPU, "fp32")
