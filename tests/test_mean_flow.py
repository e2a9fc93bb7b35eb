"""MeanFlow: average velocities in closed form, the derivative along the path, and learning to take one step."""

import pytest
import torch
from torch import nn

from diffusion.denoiser import Conditional, Denoiser
from diffusion.mean_flow import average_velocity, change_along_path, mean_flow_loss, with_intervals, with_steps
from diffusion.nets.dit import DiT
from diffusion.nets.unet import UNet
from diffusion.objective import Draws
from diffusion.samplers.step import final
from diffusion.samplers.table import SamplerSetting
from diffusion.schedule import noise_schedule, per_sample
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser

POINT = 0.4
SCHEDULE = noise_schedule("flow", 1000)
LABELS = torch.arange(6) % 3
R, S = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.0, 0.7]), torch.tensor([1.0, 0.9, 0.4, 0.5, 0.2, 1.0])


def random_images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet(**others):
    return UNet(8, 1, 3, patch=1, channels=[8, 16], blocks=1, attention_heads=2, dropout=0.0, **others)


def dit():
    return DiT(8, 1, 3, patch=2, width=16, depth=2, attention_heads=2, dropout=0.0)


def shaken(net):
    """The network with weights in which nothing is zero, so that every part counts."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return net.eval()


class Exact(nn.Module):
    """A network whose average velocity is `u(z, r, s)`."""

    def __init__(self, u):
        super().__init__()
        self.u, self.scale = u, nn.Parameter(torch.ones(()))

    def forward(self, x_t, times, label):
        s, length = (times / 1000).unbind(dim=1)
        z = x_t * per_sample(((1 - s).square() + s.square()).sqrt(), x_t)
        return self.scale * self.u(z, *(per_sample(time, z) for time in (s - length, s)))


def of_point(z, r, s):
    """All images are one point: z_s leads straight back to it, with eps - POINT on the whole way."""
    return (z - POINT) / s


def of_gaussian(z, r, s, std=0.5):
    """Images are N(0, std^2): the flow keeps z over its standard deviation, so z_r follows from z_s."""
    at = [((1 - time).square() * std**2 + time.square()).sqrt() for time in (r, s)]
    return z * (1 - at[0] / at[1]) / (s - r)


def test_the_average_velocity_of_a_point_leads_to_it_from_anywhere():
    eps = random_images(6, 1, 8, 8)
    z = (1 - per_sample(S, eps)) * POINT + per_sample(S, eps) * eps
    u = average_velocity(Exact(of_point), z, R, S, LABELS)
    torch.testing.assert_close(u, eps - POINT, atol=1e-5, rtol=1e-5)
    assert change_along_path(Exact(of_point), z, eps - POINT, R, S, LABELS).abs().max() < 1e-4


def test_known_average_velocities_obey_the_identity():
    """u = v - (s - r) d/ds u along the flow, whose velocity at s is the average over no time."""
    inside = R < S
    r, s = R[inside], S[inside]
    z = random_images(len(r), 1, 8, 8)
    before = s - 1e-3
    velocity = of_gaussian(z, *(per_sample(time, z).double() for time in (before, s))).float()
    change = change_along_path(Exact(of_gaussian), z, velocity, r, s, LABELS[inside])
    u = average_velocity(Exact(of_gaussian), z, r, s, LABELS[inside])
    torch.testing.assert_close(u, velocity - per_sample(s - r, z) * change, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("make", [unet, dit])
def test_the_change_along_the_path_is_that_of_finite_differences(make):
    net, step = shaken(with_intervals(make())), 5e-3
    z, velocity = random_images(6, 1, 8, 8), random_images(6, 1, 8, 8, seed=1)
    there, back = (average_velocity(net, z + h * velocity, R, S + h, LABELS) for h in (step, -step))
    found = change_along_path(net, z, velocity, R, S, LABELS)
    torch.testing.assert_close(found, (there - back) / (2 * step), atol=0.02, rtol=0.02)
    assert found.abs().max() > 0.5


def test_an_interval_counts_for_nothing_at_first_and_then_does():
    plain = shaken(unet())
    net = with_intervals(plain)
    z = random_images(6, 1, 8, 8)
    u = average_velocity(net, z, R, S, LABELS)
    torch.testing.assert_close(u, average_velocity(net, z, S, S, LABELS))
    assert (average_velocity(shaken(net), z, R, S, LABELS) - average_velocity(net, z, S, S, LABELS)).abs().max() > 0.01
    assert isinstance(plain.time, type(net.time.time))  # the plain network stays as it is


@pytest.mark.parametrize("num_steps", [1, 2])
def test_steps_of_ddim_are_those_along_average_velocities(num_steps):
    net = shaken(with_intervals(unet()))
    z = noise = random_images(6, 1, 8, 8)
    times = [step / num_steps for step in range(num_steps, -1, -1)]
    for s, r in zip(times, times[1:], strict=False):
        z = z - (s - r) * average_velocity(net, z, torch.full((6,), r), torch.full((6,), s), LABELS)
    denoiser = Denoiser(with_steps(net, num_steps), SCHEDULE, "flow")
    walk = SamplerSetting("ddim", num_steps, 0.0).start(Conditional(denoiser, LABELS), SCHEDULE, iter([noise]))
    torch.testing.assert_close(final(walk), z, atol=1e-4, rtol=1e-4)


def loss_of(net, x_0, monkeypatch, **settings):
    for name, value in settings.items():
        monkeypatch.setattr(f"diffusion.mean_flow.{name}", value)
    draws = Draws(0, "mean_flow", 0, x_0.device, len(x_0))
    return mean_flow_loss(net)(x_0, torch.arange(len(x_0)) % 3, draws)


def test_without_intervals_the_loss_is_that_of_flow_matching(monkeypatch):
    net, x_0 = shaken(with_intervals(unet())), random_images(16, 1, 8, 8, seed=2)
    found, logged = loss_of(net, x_0, monkeypatch, MOVING=0.0, POWER=0.0)
    draws = Draws(0, "mean_flow", 0, x_0.device, 16)
    eps = draws.normal(x_0.shape[1:], of="noise")
    s = (draws.normal((2,), of="t")[:, 0] - 0.4).sigmoid()
    z = per_sample(1 - s, x_0) * x_0 + per_sample(s, x_0) * eps
    error = average_velocity(net, z, s, s, torch.arange(16) % 3) - (eps - x_0)
    torch.testing.assert_close(found, error.square().flatten(1).sum(dim=1).mean())
    torch.testing.assert_close(logged["loss"], error.square().mean())


def test_the_known_average_velocity_of_a_point_has_no_loss(monkeypatch):
    x_0 = torch.full((16, 1, 8, 8), POINT)
    _, logged = loss_of(Exact(of_point), x_0, monkeypatch, MOVING=1.0)
    assert logged["loss"] < 1e-6
    _, other = loss_of(Exact(lambda z, r, s: 1.1 * of_point(z, r, s)), x_0, monkeypatch)
    assert other["loss"] > 1e-3


def test_the_known_average_velocity_of_a_gaussian_is_where_the_loss_is_least(monkeypatch):
    """The velocity of one image is not that of all, but of its mean given z_s the target is the average velocity."""
    x_0 = 0.5 * random_images(2048, 1, 8, 8, seed=4)

    def slope(scale):
        net = Exact(of_gaussian)
        net.scale.data.fill_(scale)
        found, _ = loss_of(net, x_0, monkeypatch, MOVING=1.0, POWER=0.0)
        return torch.autograd.grad(found, [net.scale])[0].item()

    assert abs(slope(1.0)) < 0.05 * abs(slope(1.5)) and slope(0.5) < 0 < slope(1.5)


def test_a_quarter_of_every_part_of_a_batch_moves(monkeypatch):
    x_0, found = random_images(8, 1, 8, 8), []

    def noted(net, z, velocity, r, s, condition, precision):
        found.append((len(z), bool((r < s).all())))
        return torch.zeros_like(z)

    monkeypatch.setattr("diffusion.mean_flow.change_along_path", noted)
    for rows in (slice(0, 4), slice(4, 8)):
        draws = Draws(0, "mean_flow", 0, x_0.device, 8, rows)
        mean_flow_loss(Exact(of_point))(x_0[rows], LABELS[:4], draws)
    assert found == [(1, True), (1, True)]


def test_no_gradient_flows_through_the_target(monkeypatch):
    """The gradient of a squared error whose target is held: 2 (u - target) du/dscale."""
    x_0 = torch.full((8, 1, 8, 8), POINT)
    net = Exact(lambda z, r, s: 1.2 * of_point(z, r, s))  # u = 1.2 v, so d/ds u = 0 and the target is v
    found, _ = loss_of(net, x_0, monkeypatch, MOVING=1.0, POWER=0.0)
    (gradient,) = torch.autograd.grad(found, [net.scale])
    eps = Draws(0, "mean_flow", 0, x_0.device, 8).normal(x_0.shape[1:], of="noise")
    wanted = (2 * 0.2 * 1.2 * (eps - POINT).square()).flatten(1).sum(dim=1).mean()
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-3)


def test_a_network_learns_to_draw_its_images_in_one_step():
    """Three classes, each with one image."""
    torch.manual_seed(0)
    net = with_intervals(unet())
    values = torch.tensor([64, 128, 192], dtype=torch.uint8)
    images = values.view(3, 1, 1, 1).expand(3, 1, 8, 8).repeat(4, 1, 1, 1)
    ema, optimiser = Ema(net, 0.95), Optimiser(net.parameters(), 5e-3, 400, warmup_steps=10)
    learners = {"mean flow": Learner(net, mean_flow_loss(net), optimiser, ema)}
    update = training_step(learners, images, torch.arange(12) % 3, batch_size=12, seed=0, purpose="mean_flow")
    for _ in fit(update, state_of(learners), 400, 50):
        pass
    denoiser = Denoiser(with_steps(ema.net, 1), SCHEDULE, "flow")
    drawn = denoiser(random_images(6, 1, 8, 8), 1000.0, LABELS)
    wanted = (values[LABELS] / 127.5 - 1).view(6, 1, 1, 1)
    assert (drawn - wanted).abs().mean() < 0.1
