"""The GAN: losses and penalty against closed forms, steps that leave the other network alone, a resume to the bit."""

import copy
import math

import pytest
import torch

from diffusion.baselines.gan import (
    GanModel,
    discriminator_loss,
    generator_loss,
    load_gan,
    logistic_loss,
    non_saturating_loss,
    r1_penalty,
)
from diffusion.baselines.gan_nets import Discriminator, Generator
from diffusion.tensors import save_model
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser

NET = {"image_size": 8, "image_channels": 1, "num_classes": 3, "patch": 1, "channels": [8, 16], "blocks": 1}
LATENT = 4


def some_images(number=20):
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (number, 1, 8, 8), generator=draw, dtype=torch.uint8)


def small_training(steps=8, r1_every=2, r1_weight=1.0, learning_rate=1e-3, images=None):
    torch.manual_seed(0)
    generator, discriminator = Generator(**NET, latent=LATENT), Discriminator(**NET)
    model, images = GanModel(generator), some_images() if images is None else images
    losses = {
        "discriminator": discriminator_loss(
            model, discriminator, latent=LATENT, r1_weight=r1_weight, r1_every=r1_every
        ),
        "generator": generator_loss(model, discriminator, latent=LATENT),
    }
    nets, emas = {"discriminator": discriminator, "generator": generator}, {"generator": Ema(generator, 0.9)}
    learners = {
        name: Learner(net, losses[name], Optimiser(net.parameters(), learning_rate, steps, beta1=0.0), emas.get(name))
        for name, net in nets.items()
    }
    labels = torch.arange(len(images)) % 3
    return training_step(learners, images, labels, batch_size=8, seed=0, purpose="gan"), learners


def weights_of(net):
    return copy.deepcopy(list(net.state_dict().values()))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_losses_of_known_probabilities():
    """D says 0.9 to real images and 0.2 to fakes."""
    real, fake = (torch.tensor([math.log(p / (1 - p))] * 3) for p in (0.9, 0.2))
    assert logistic_loss(real, fake).item() == pytest.approx(-math.log(0.9) - math.log(0.8), rel=1e-5)
    assert non_saturating_loss(fake).item() == pytest.approx(-math.log(0.2), rel=1e-5)


def test_a_sure_discriminator_still_moves_the_generator():
    """The saturating loss log(1 - D) has no gradient where D is sure of fakes, which is where the generator starts."""
    logit = torch.tensor([-20.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(non_saturating_loss(logit), logit)
    assert gradient.item() == pytest.approx(-1, abs=1e-6)


def test_the_penalty_and_its_gradient_by_hand():
    """D(x) = w sum(x^2) / 2 has the gradient w x, so the penalty is w^2 |x|^2, and its own gradient 2 w |x|^2."""
    w = torch.tensor(3.0, requires_grad=True)
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    penalty = r1_penalty(lambda x, label: w * x.square().flatten(1).sum(1) / 2, x, None)
    squares = x.square().flatten(1).sum(1).mean().item()
    assert penalty.item() == pytest.approx(9 * squares, rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, w)
    assert gradient.item() == pytest.approx(6 * squares, rel=1e-5) and not x.requires_grad


def test_the_penalty_is_that_of_finite_differences():
    discriminator = Discriminator(**NET).double()
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    label, steps = torch.tensor([0, 2]), 1e-5 * torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    with torch.no_grad():
        slopes = [discriminator(x + e, label) - discriminator(x - e, label) for e in steps]
    expected = (torch.stack(slopes) / 2e-5).square().sum(0).mean()
    assert r1_penalty(discriminator, x, label).item() == pytest.approx(expected.item(), rel=1e-4)


def test_each_optimiser_moves_its_own_network():
    """With one learning rate at 0, the other network learns, and this one does not change a bit."""
    for still, moving in (("generator", "discriminator"), ("discriminator", "generator")):
        update, learners = small_training()
        learners[still].optimiser.learning_rate_at = lambda step: 0.0
        before = {name: weights_of(learner.net) for name, learner in learners.items()}
        update(0)
        assert same(before[still], weights_of(learners[still].net))
        assert not same(before[moving], weights_of(learners[moving].net))


def test_the_generators_step_leaves_the_discriminator_as_it_is():
    update, learners = small_training(r1_weight=0.0)
    update(0)
    update, alone = small_training(r1_weight=0.0)
    alone["generator"].optimiser.descend = lambda loss, gradient: {}  # no step of the generator at all
    update(0)
    assert same(*(of["discriminator"].net.parameters() for of in (learners, alone)))


def test_the_penalty_counts_as_often_as_it_is_left_out():
    every, seldom = (small_training(r1_every=n)[0] for n in (1, 4))
    first, other = every(0)["penalty"], seldom(0)["penalty"]
    assert first > 0 and other.item() == pytest.approx(4 * first.item(), rel=1e-5)
    assert seldom(1)["penalty"] == 0 and every(1)["penalty"] > 0


def test_a_generator_learns_one_image():
    """All real images are white: soon all made ones are."""
    white = torch.full((12, 1, 8, 8), 255, dtype=torch.uint8)
    update, learners = small_training(60, r1_every=4, r1_weight=0.1, learning_rate=3e-3, images=white)
    list(fit(update, state_of(learners), 60, 60))
    made = GanModel(learners["generator"].ema.net)(
        torch.randn(9, LATENT, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    )
    assert made.shape == (9, 1, 8, 8) and made.max() <= 1 and made.mean() > 0.7


def test_a_file_gives_the_same_generator_back_and_no_other(tmp_path):
    net, path = Generator(**NET, latent=LATENT), tmp_path / "gan.safetensors"
    save_model(path, "gan", net.state_dict(), {"net": NET | {"latent": LATENT}})
    model, _ = load_gan(path, torch.device("cpu"), "fp32")
    z, label = torch.randn(2, LATENT), torch.tensor([0, 2])
    assert torch.allclose(model(z, label), GanModel(net)(z, label), atol=1e-6)
    save_model(path, "vae", net.state_dict(), {"net": NET})
    with pytest.raises(ValueError, match="gan.safetensors: holds 'vae' .*expected 'gan'"):
        load_gan(path, torch.device("cpu"), "fp32")
