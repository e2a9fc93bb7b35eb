"""The GAN: losses and penalty against closed forms, steps that leave the other network alone, a resume to the bit."""

import copy
import math

import pytest
import torch

from diffusion.baselines.gan import GanModel, discriminator_loss, gan_update, generator_loss, load_gan, r1_penalty
from diffusion.baselines.gan_nets import Discriminator, Generator
from diffusion.tensors import save_tensors
from diffusion.training.loop import fit
from diffusion.training.optimiser import Ema, Optimiser

NET = {"image_size": 8, "image_channels": 1, "num_classes": 3, "patch": 1, "channels": [8, 16], "blocks": 1}
LATENT = 4


def small_training(steps=8, r1_every=2, r1_weight=1.0):
    torch.manual_seed(0)
    nets = {"generator": Generator(**NET, latent=LATENT), "discriminator": Discriminator(**NET)}
    ema = Ema(nets["generator"], 0.9)
    optimisers = tuple(Optimiser(net.parameters(), 1e-3, steps, beta1=0.0) for net in nets.values())
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (20, 1, 8, 8), generator=draw, dtype=torch.uint8)
    update = gan_update(
        GanModel(nets["generator"]),
        nets["discriminator"],
        ema,
        optimisers,
        images,
        torch.arange(20) % 3,
        batch_size=8,
        latent=LATENT,
        r1_weight=r1_weight,
        r1_every=r1_every,
        seed=0,
    )
    return update, {**nets, "ema": ema, "first": optimisers[0], "second": optimisers[1]}


def weights_of(net):
    return copy.deepcopy(list(net.state_dict().values()))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_losses_of_known_probabilities():
    """D says 0.9 to real images and 0.2 to fakes."""
    real, fake = (torch.tensor([math.log(p / (1 - p))] * 3) for p in (0.9, 0.2))
    assert discriminator_loss(real, fake).item() == pytest.approx(-math.log(0.9) - math.log(0.8), rel=1e-5)
    assert generator_loss(fake).item() == pytest.approx(-math.log(0.2), rel=1e-5)


def test_a_sure_discriminator_still_moves_the_generator():
    """The saturating loss log(1 - D) has no gradient where D is sure of fakes, which is where the generator starts."""
    logit = torch.tensor([-20.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(generator_loss(logit), logit)
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
        update, state = small_training()
        optimiser = {"generator": state["first"], "discriminator": state["second"]}[still]
        optimiser.learning_rate_at = lambda step: 0.0
        before = {name: weights_of(state[name]) for name in (still, moving)}
        update(0)
        assert same(before[still], weights_of(state[still]))
        assert not same(before[moving], weights_of(state[moving]))


def test_the_generators_step_leaves_no_gradient_in_the_discriminator():
    update, state = small_training(r1_weight=0.0)
    update(0)
    left = [parameter.grad.clone() for parameter in state["discriminator"].parameters()]
    assert all(parameter.requires_grad for parameter in state["discriminator"].parameters())
    update, again = small_training(r1_weight=0.0)
    again["first"].descend = lambda loss: {}  # no generator's step at all
    update(0)
    assert same(left, [parameter.grad for parameter in again["discriminator"].parameters()])


def test_the_penalty_counts_as_often_as_it_is_left_out():
    every, seldom = (small_training(r1_every=n)[0] for n in (1, 4))
    first, other = every(0)["penalty"], seldom(0)["penalty"]
    assert first > 0 and other.item() == pytest.approx(4 * first.item(), rel=1e-5)
    assert seldom(1)["penalty"] == 0 and every(1)["penalty"] > 0


def test_a_generator_learns_one_image():
    """All real images are white: soon all made ones are."""
    torch.manual_seed(0)
    generator, discriminator = Generator(**NET, latent=LATENT), Discriminator(**NET)
    ema = Ema(generator, 0.9)
    optimisers = tuple(Optimiser(net.parameters(), 3e-3, 60, beta1=0.0) for net in (generator, discriminator))
    white = torch.full((12, 1, 8, 8), 255, dtype=torch.uint8)
    options = {"batch_size": 12, "latent": LATENT, "r1_weight": 0.1, "r1_every": 4, "seed": 0}
    update = gan_update(GanModel(generator), discriminator, ema, optimisers, white, torch.arange(12) % 3, **options)
    list(fit(update, {}, 60, 60))
    made = GanModel(ema.net)(torch.randn(9, LATENT, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3)
    assert made.shape == (9, 1, 8, 8) and made.max() <= 1 and made.mean() > 0.7


def test_a_file_gives_the_same_generator_back_and_no_other(tmp_path):
    net, path = Generator(**NET, latent=LATENT), tmp_path / "gan.safetensors"
    save_tensors(path, net.state_dict(), {"kind": "gan", "net": NET | {"latent": LATENT}})
    model, _ = load_gan(path, torch.device("cpu"), "fp32")
    z, label = torch.randn(2, LATENT), torch.tensor([0, 2])
    assert torch.allclose(model(z, label), GanModel(net)(z, label), atol=1e-6)
    save_tensors(path, net.state_dict(), {"kind": "vae", "net": NET})
    with pytest.raises(ValueError, match="gan.safetensors: holds 'vae' .*expected 'gan'"):
        load_gan(path, torch.device("cpu"), "fp32")
