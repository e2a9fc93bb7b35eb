"""Gaussians against torch.distributions: draws, densities, the KL to another and to a standard one."""

import torch
from torch.distributions import Normal, kl_divergence

from diffusion.gaussian import STANDARD, Gaussian


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_gaussians_against_torch_distributions():
    mean, log_variance, eps = draws(3, 5, 4).unbind(0)
    prior_mean, prior_log_variance = draws(2, 5, 4, seed=1).unbind(0)
    ours, theirs = Gaussian(mean, log_variance), Normal(mean, (log_variance / 2).exp())
    z = ours.sample(eps)
    assert (z - (theirs.loc + theirs.scale * eps)).abs().max() < 1e-6
    assert (ours.log_density(z) - theirs.log_prob(z)).abs().max() < 1e-4
    expected = kl_divergence(theirs, Normal(prior_mean, (prior_log_variance / 2).exp()))
    assert (ours.kl_to(Gaussian(prior_mean, prior_log_variance)) - expected).abs().max() < 1e-4
    assert (ours.kl_to(STANDARD) - kl_divergence(theirs, Normal(0.0, 1.0))).abs().max() < 1e-5
    assert ours.kl_to(ours).abs().max() == 0
