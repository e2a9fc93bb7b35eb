"""Image k comes from the same draws at any batch size and in any order: draws to the bit, figures to 1e-4 in fp32."""

from types import SimpleNamespace

import pytest
import torch
from test_gan import LATENT, NET
from test_latent import described
from test_vae import small_vae, some_images

from diffusion.baselines.gan import GanModel
from diffusion.baselines.gan_nets import Generator
from diffusion.baselines.vae import VaeModel, bounds
from diffusion.data import Dataset
from diffusion.denoiser import Denoiser, clipped, guidance
from diffusion.latents.captions import Vocabulary
from diffusion.latents.model import pad
from diffusion.likelihood.bounds import bits_per_dim
from diffusion.likelihood.density import Density
from diffusion.nets.unet import UNet
from diffusion.randomness import image_noise
from diffusion.samplers.step import final
from diffusion.samplers.table import SAMPLERS, SamplerSetting
from diffusion.schedule import noise_schedule
from stages import score

NUMBER, SHAPE, CLASSES = 7, (1, 8, 8), 3
LABELS = torch.arange(NUMBER) % CLASSES
AS_ONE = [range(NUMBER)]
IN_PARTS = ([[0, 1, 2], [3, 4, 5], [6]], [[6], [2, 5], [1, 0, 4, 3]])


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    arguments = {"image_size": 8, "image_channels": 1, "num_classes": CLASSES, "patch": 1, "channels": [8, 16]}
    net = UNet(**arguments, blocks=1, attention_heads=2, dropout=0.0).eval().requires_grad_(False)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):  # the last of every block starts at zero
            torch.nn.init.normal_(layer.weight, std=0.1)
    return Denoiser(net, noise_schedule("linear", 50), "v")


def made_in(batches, image_of, shape):
    """The images (N, ...) made in these batches by image_of(indices, noise), and all the draws of each."""
    images, draws = {}, {k: [] for k in range(NUMBER)}

    def noted(indices):
        for draw in image_noise(5, "sample", indices, shape):
            for k, own in zip(indices, draw, strict=True):
                draws[k].append(own)
            yield draw

    for indices in map(list, batches):
        images |= zip(indices, image_of(indices, noted(indices)), strict=True)
    return torch.stack([images[k] for k in range(NUMBER)]), [torch.stack(draws[k]) for k in range(NUMBER)]


def assert_the_same_in_any_batches(image_of, shape=SHAPE):
    whole, draws = made_in(AS_ONE, image_of, shape)
    assert torch.pdist(whole.flatten(1)).min() > 1e-2  # images of their own
    for batches in IN_PARTS:
        images, again = made_in(batches, image_of, shape)
        assert all(torch.equal(a, b) for a, b in zip(draws, again, strict=True))
        assert (images - whole).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_images_of_every_sampler(denoiser, sampler, scale):
    def image_of(indices, noise):
        denoise = clipped(guidance(scale)(denoiser, LABELS[indices]))
        return final(SamplerSetting(sampler, 8).start(denoise, denoiser.schedule, noise))

    assert_the_same_in_any_batches(image_of)


def test_images_of_the_adaptive_solver(denoiser, monkeypatch):
    """It measures its error on a whole batch, so image k is always solved with the same others."""
    monkeypatch.setattr(score, "ODE_BATCH_SIZE", 4)
    data = Dataset(torch.zeros(1, *SHAPE, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), tuple("abc"))
    reference = SimpleNamespace(train=data, seed=5)
    whole, *others = (score.solve_classes(denoiser, reference, number, 1e-2) for number in (NUMBER, NUMBER, 5))
    assert len(whole) == 8 and whole.float().std(dim=0).mean() > 1
    assert all(torch.equal(whole, other) for other in others)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_images_of_prompts(scale):
    description, net, autoencoder = described()
    denoiser = Denoiser(net.eval().requires_grad_(False), noise_schedule("linear", 30), "v")
    numbers = Vocabulary(tuple(description["vocabulary"])).numbers
    texts = ["a thin three", "zero", "one", "a one", "three", "thin zero", "a"]
    tokens = pad([numbers(text) for text in texts])

    def image_of(indices, noise):
        denoise = guidance(scale)(denoiser, tokens[indices])
        return autoencoder.eval().decode(final(SamplerSetting("ddim", 4, 0.0).start(denoise, denoiser.schedule, noise)))

    with torch.no_grad():
        assert_the_same_in_any_batches(image_of, autoencoder.latent_shape)


@torch.no_grad()
def test_images_of_gan_and_vae():
    torch.manual_seed(0)
    gan, vae = GanModel(Generator(**NET, latent=LATENT).eval()), VaeModel(small_vae().eval())
    for model in (gan, vae):
        assert_the_same_in_any_batches(lambda indices, z: model(next(z), LABELS[indices]), (LATENT,))  # noqa: B023


def test_bounds_of_the_vae():
    model, (images, labels) = VaeModel(small_vae().eval()), some_images()
    whole, *others = (bounds(model, images, labels, 20, seed=0, batch_size=size) for size in (20, 7, 1))
    for other in others:
        for figure, again in zip(whole, other, strict=True):
            assert (bits_per_dim(figure - again, images)).abs().max() < 1e-4


def test_bits_of_the_denoiser(denoiser, monkeypatch):
    images, labels = some_images(NUMBER)
    density = Density.grey_aware(denoiser, images, log_snr_bins=6, ode_tolerance=0.001, seed=0)
    found = []
    for size in (NUMBER, 3, 1):
        monkeypatch.setattr("diffusion.likelihood.density.BATCH_SIZE", size)
        found.append(bits_per_dim(density.bound(images, labels).total(), images))
    assert all((other - found[0]).abs().max() < 1e-4 for other in found[1:])
