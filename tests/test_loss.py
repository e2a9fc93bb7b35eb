"""The denoiser's loss is what it says, and its times and dropped labels are distributed as they should."""

import math
from statistics import NormalDist

import pytest
import torch

from diffusion.denoiser import Denoiser
from diffusion.loss import TIME_SHARES, denoising_loss, loss_tables, mirrored, times_at, weighted_error
from diffusion.objective import Draws
from diffusion.schedule import noise_schedule


def drawn_times(shares, batches=2000):
    draws = [Draws(0, "train", batch, torch.device("cpu"), 8) for batch in range(batches)]
    return torch.stack([times_at(of.stratified(of.uniform((), of="noise")), shares) for of in draws])


def test_times_are_uniform_from_1_to_t_and_one_from_each_stratum():
    times = drawn_times(TIME_SHARES["uniform"](noise_schedule("linear", 40)))
    assert times.min() == 1 and times.max() == 40
    assert ((times - 1) // 5 == torch.arange(8)).all()
    counts = times.flatten().bincount(minlength=41)[1:]
    assert (counts - 400).abs().max() < 5 * math.sqrt(400)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "linear_zero_snr", "cosine", "flow"])
def test_times_drawn_as_under_cosine_have_its_log_snr_on_any_schedule(name):
    """Closed form: the share of log-SNR above l is 2/pi atan(exp(-l/2)); under cosine itself t is near uniform."""
    schedule = noise_schedule(name, 1000)
    times = drawn_times(TIME_SHARES["cosine"](schedule)).flatten()
    assert times.min() >= 1 and times.max() <= 1000
    log_snr = schedule.snr(times).log()
    for level in (-4.0, -1.0, 0.0, 2.0, 5.0):
        expected = 2 / math.pi * math.atan(math.exp(-level / 2))
        assert abs((log_snr > level).double().mean() - expected) < 0.01, level
    if name == "cosine":
        assert (
            times.double().quantile(torch.tensor([0.25, 0.5, 0.75]).double()) - torch.tensor([250, 500, 750])
        ).abs().max() < 20


@pytest.mark.parametrize("name", ["linear", "sigmoid", "linear_zero_snr", "cosine", "flow"])
def test_focused_times_are_those_of_a_mixture_on_any_schedule(name):
    """Closed form: nine tenths normal in log-SNR, one tenth as under cosine, so that both ends are seen too."""
    schedule, normal = noise_schedule(name, 1000), NormalDist(-1, 1)
    log_snr = schedule.snr(drawn_times(TIME_SHARES["focused"](schedule)).flatten()).log()
    for level in (-4.0, -2.0, -1.0, 0.0, 2.0, 5.0):
        expected = 0.9 * (1 - normal.cdf(level)) + 0.1 * 2 / math.pi * math.atan(math.exp(-level / 2))
        assert abs((log_snr > level).double().mean() - expected) < 0.01, level
    assert (log_snr > 5).any() and (log_snr < -6).any()


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
@pytest.mark.parametrize("weighting", ["none", "min_snr"])
def test_the_loss_of_a_known_prediction(target, weighting):
    """A network that answers 0: the loss is the weighted mean square of the target itself."""
    schedule = noise_schedule("linear", 100)
    x_0, eps = torch.randn(2, 5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([1, 20, 50, 80, 100])
    net = torch.nn.Module()
    net.forward = lambda x, time, label: torch.zeros_like(x)
    tables = loss_tables(schedule, target, weighting, torch.device("cpu"))
    loss = weighted_error(Denoiser(net, schedule, target), tables, x_0, torch.zeros(5).long(), t, eps)
    expected = []
    for k in range(5):
        alpha_bar = schedule.alpha_bar[t[k]].item()
        snr = alpha_bar / (1 - alpha_bar)
        value = {"eps": eps[k], "x0": x_0[k], "v": alpha_bar**0.5 * eps[k] - (1 - alpha_bar) ** 0.5 * x_0[k]}[target]
        scale = {"eps": snr, "x0": 1, "v": snr + 1}[target]
        weight = min(snr, 5) / scale if weighting == "min_snr" else 1
        expected.append(weight * value.square().mean().item())
    assert loss.item() == pytest.approx(sum(expected) / 5, rel=1e-4)


def test_labels_are_dropped_per_sample_with_the_given_probability():
    """Dropping whole batches, or sharing row 0 with the null class, both pass a test of shapes."""
    seen = []
    net = torch.nn.Conv2d(1, 1, 1)
    forward = net.forward
    net.forward, net.null = lambda x, time, label: (seen.append(label), forward(x))[1], 10
    denoiser = Denoiser(net, noise_schedule("linear", 100), "v")
    loss = denoising_loss(denoiser, dropout=0.1, times="uniform", weighting="none")
    for step in range(20):
        loss(torch.zeros(400, 1, 4, 4), torch.arange(400) % 10, Draws(0, "train", step, torch.device("cpu"), 400))
    dropped = torch.stack(seen) == 10
    assert abs(dropped.float().mean() - 0.1) < 5 * math.sqrt(0.09 / 8000)
    assert dropped.any(dim=1).all() and not dropped.all(dim=1).any()


def test_mirror_images_have_labels_of_their_own():
    """So the network learns both sides, and a class as it is asked for is never mirrored."""
    x_0, label = torch.randn(400, 1, 4, 4), torch.arange(400) % 3
    seen = []

    def loss(*given):
        seen.append(given)
        return torch.zeros(()), {}

    mirrored(loss, 3)(x_0, label, Draws(0, "train", 0, torch.device("cpu"), 400))
    x, labels, _ = seen[0]
    turned = labels >= 3
    assert torch.equal(labels % 3, label) and 150 < turned.sum() < 250
    assert torch.equal(x[turned], x_0[turned].flip(-1)) and torch.equal(x[~turned], x_0[~turned])
