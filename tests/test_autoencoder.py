"""The autoencoder: its KL in closed form, standardised latents, sizes, a resume to the bit, its file."""

import pytest
import torch

from diffusion.data import to_float
from diffusion.denoiser import save_denoiser
from diffusion.latents.autoencoder import (
    decode,
    encode,
    load_autoencoder,
    reconstruction_loss,
    save_autoencoder,
    standardise,
)
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.training.checkpoints import Checkpoints
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Optimiser

ARGUMENTS = {"image_size": 8, "image_channels": 1, "latent_channels": 4, "channels": [8, 16]}


def images(number=40, size=8, channels=1):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, channels, size, size), generator=draw, dtype=torch.uint8)


def autoencoder(**changes):
    torch.manual_seed(0)
    return Autoencoder(**ARGUMENTS | changes)


def training(steps=12, kl_weight=0.01):
    net = autoencoder()
    optimiser = Optimiser(net.parameters(), 0.01, steps)
    loss = reconstruction_loss(net, kl_weight=kl_weight, precision="fp32")
    learners = {"autoencoder": Learner(net, loss, optimiser)}
    return training_step(learners, images(), torch.zeros(40), batch_size=8, seed=0, purpose="autoencoder"), learners


@pytest.mark.parametrize(
    ("size", "channels", "widths", "side"),
    [(28, 1, [8, 16], 7), (56, 1, [8, 16], 14), (56, 3, [8, 16, 16], 7), (8, 1, [8], 4), (64, 3, [8, 8, 8, 8], 4)],
)
def test_latents_are_a_fraction_of_the_side_and_come_back_to_the_shape(size, channels, widths, side):
    net = autoencoder(image_size=size, image_channels=channels, channels=widths)
    x = to_float(images(2, size, channels))
    assert net.encode(x).shape == (2, *net.latent_shape) == (2, 4, side, side)
    assert net.decode(net.encode(x)).shape == x.shape


@pytest.mark.parametrize(("size", "widths"), [(28, [8, 8, 8]), (30, [8, 8]), (9, [8])])
def test_sizes_that_do_not_halve_are_refused_at_build(size, widths):
    with pytest.raises(ValueError, match=f"^channels: images of {size}x{size} cannot be divided by"):
        autoencoder(image_size=size, channels=widths)


def test_standardised_latents_have_mean_0_and_standard_deviation_1_per_channel():
    """Latents of another scale meet a noise schedule made for unit variance: the image drowns early, or never does."""
    net, real = autoencoder(), images()
    torch.nn.init.normal_(net.to_moments.bias, std=3.0)
    before = net.moments(to_float(real))[0]
    standardise(net, real)
    latents = encode(net, real)
    assert before.mean(dim=(0, 2, 3)).abs().max() > 0.5
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (latents.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    standardise(net, real)  # a second time changes nothing
    assert (encode(net, real) - latents).abs().max() < 1e-5
    assert (decode(net, latents) - net.pixels(before)).abs().max() < 1e-4


def test_the_loss_is_error_plus_weighted_kl_and_falls():
    update, learners = training(steps=200)
    first, *_, last = (p.means for p in fit(update, state_of(learners), 200, 20))
    assert first["loss"] == pytest.approx(first["error"] + 0.01 * first["kl"], rel=1e-5)
    assert last["error"] < 0.8 * first["error"]


def test_training_goes_on_to_the_bit(tmp_path):
    update, whole = training()
    history = list(fit(update, state_of(whole), 12, 2))
    update, stopped = training()
    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        for progress in fit(update, state_of(stopped), 12, 2, checkpoints):
            if progress.step == 6:
                raise InterruptedError
    update, resumed = training()
    with Checkpoints(tmp_path / "run", 0) as checkpoints:
        assert list(fit(update, state_of(resumed), 12, 2, checkpoints)) == history
    a, b = (learners["autoencoder"].net.state_dict() for learners in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_file_gives_the_same_autoencoder_back(tmp_path):
    net, path = autoencoder(), tmp_path / "a.safetensors"
    standardise(net, images())
    save_autoencoder(path, net, ARGUMENTS)
    loaded, arguments = load_autoencoder(path, torch.device("cpu"))
    assert arguments == ARGUMENTS and torch.equal(encode(loaded, images()), encode(net.eval(), images()))
    save_autoencoder(path, net, ARGUMENTS | {"channels": [8, 8]})
    with pytest.raises(ValueError, match="a.safetensors: weights and description do not fit"):
        load_autoencoder(path, torch.device("cpu"))
    save_denoiser(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="a.safetensors: holds 'denoiser' .expected 'autoencoder'"):
        load_autoencoder(path, torch.device("cpu"))
