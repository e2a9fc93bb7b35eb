"""Latent diffusion on text: the model in its file, guidance on captions, recorded attention, larger images."""

from types import SimpleNamespace

import pytest
import torch

from diffusion.denoiser import Conditional, Denoiser, guidance, save_denoiser
from diffusion.generation import of_latents
from diffusion.latents.autoencoder import encode, standardise
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.latents.model import LatentModel, Words, load_latent, pad, record_attention, save_latent, text_unet
from diffusion.latents.text import PAD
from diffusion.loss import denoising_loss
from diffusion.objective import Draws
from diffusion.samplers.ddim import by_ddim
from diffusion.schedule import noise_schedule
from diffusion.training.checkpoints import Checkpoints
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser

WORDS = ["a", "one", "thin", "three", "zero"]
TEXT = {"encoder": "own", "folder": "", "width": 16, "layers": 1, "heads": 2}
CPU = torch.device("cpu")


def described(image_size=8):
    """The description and both networks of a small model of images of this size, whose latents are 2 x 2."""
    widths = [8] * (image_size.bit_length() - 2)
    arguments = {"image_size": image_size, "image_channels": 1, "latent_channels": 4, "channels": widths}
    torch.manual_seed(0)
    autoencoder = Autoencoder(**arguments)
    channels, _, side = autoencoder.latent_shape
    net = {"image_size": side, "image_channels": channels, "num_classes": 0, "patch": 1, "channels": [16], "blocks": 1}
    net |= {"attention_heads": 2, "dropout": 0.0}
    description = {"net": net, "text": TEXT, "vocabulary": WORDS, "autoencoder": arguments, "schedule": "linear"}
    description |= {"timesteps": 30, "target": "v", "class_names": ["0", "1", "3"]}
    denoiser = text_unet(net, TEXT, len(WORDS))
    for parameter in denoiser.parameters():  # zero-initialised layers would hide everything behind them
        torch.nn.init.normal_(parameter, std=0.2)
    return description, denoiser, autoencoder


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path / "latent.safetensors")[0]


def saved(path, **options):
    description, denoiser, autoencoder = described(**options)
    save_latent(path, denoiser.state_dict(), autoencoder, description)
    return load_latent(path, CPU, "fp32")


def latents(number=3):
    return torch.randn(number, 4, 2, 2, generator=torch.Generator().manual_seed(0))


def test_a_file_gives_the_same_model_back(tmp_path):
    description, denoiser, autoencoder = described()
    standardise(autoencoder, torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8))
    path = tmp_path / "m.safetensors"
    save_latent(path, denoiser.state_dict(), autoencoder, description)
    model, found = load_latent(path, CPU, "fp32")
    assert found["class_names"] == ["0", "1", "3"] and model.latent_shape == (4, 2, 2)
    tokens = model.tokens(["a thin three", "zero", ""])
    assert tokens[:, :4].tolist() == [[1, 3, 4, PAD], [5, PAD, PAD, PAD], [PAD] * 4]
    original = Denoiser(denoiser.eval(), noise_schedule("linear", 30), "v")
    assert (model.denoiser(latents(), 9.0, tokens) - original(latents(), 9.0, tokens)).abs().max() < 1e-5
    assert torch.equal(model.autoencoder.decode(latents()), autoencoder.eval().decode(latents()))


def test_bad_files_are_one_clear_line(tmp_path):
    path = tmp_path / "m.safetensors"
    save_denoiser(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="m.safetensors: holds 'denoiser' .expected 'latent'"):
        load_latent(path, CPU, "fp32")
    description, denoiser, autoencoder = described()
    for wrong in ({"vocabulary": WORDS[:-1]}, {"net": {}}, {"target": "score"}, {"autoencoder": {}}):
        save_latent(path, denoiser.state_dict(), autoencoder, description | wrong)
        with pytest.raises(ValueError, match="m.safetensors: weights and description do not fit"):
            load_latent(path, CPU, "fp32")


def test_a_text_that_is_too_long_and_words_that_are_unknown_are_refused(model):
    with pytest.raises(ValueError, match="a text of 17 tokens is too long .allowed: up to 16"):
        model.tokens(["a " * 17])
    with pytest.raises(ValueError, match="the word 'tree' .*near it: three"):
        model.tokens(["a tree"])
    assert pad([[1, 2], []], length=3).tolist() == [[1, 2, PAD], [PAD] * 3]
    assert Words(TEXT, WORDS).numbers("thin one") == [3, 2]


def test_guidance_on_text_one_is_conditional_zero_is_the_null_caption(model):
    denoiser, tokens = model.denoiser, model.tokens(["a thin three", "zero", "one"])
    cond = Conditional(denoiser, tokens)(latents(), 9.0)
    uncond = Conditional(denoiser, torch.full_like(tokens, PAD))(latents(), 9.0)
    assert torch.equal(guidance(1.0)(denoiser, tokens)(latents(), 9.0), cond)
    assert torch.equal(guidance(0.0)(denoiser, tokens)(latents(), 9.0), uncond)
    assert (cond - uncond).abs().max() > 1e-3
    doubled = guidance(2.0)(denoiser, tokens)(latents(), 9.0)
    assert (doubled - (2 * cond - uncond)).abs().max() < 1e-4


def drawn(model, texts, scale, batch_size):
    wrap = guidance(scale)
    images_of = of_latents(model.denoiser, model.latent_shape, by_ddim(3), model.autoencoder.decode, wrap)
    return images_of.images(model.tokens(texts), 0, "test", batch_size)


def test_latents_are_never_clipped(model):
    """Standardised latents reach 4 and more: a clip at 1, right for pixels, would wash images out."""
    net = torch.nn.Conv2d(4, 4, 1)
    net.forward, net.null = lambda x, time, tokens: torch.full_like(x, 5.0), PAD
    seen = []
    as_it_is = SimpleNamespace(latent_shape=(4, 2, 2), decode=lambda z: (seen.append(z), z)[1])
    far = LatentModel(Denoiser(net, noise_schedule("linear", 30), "x0"), as_it_is, model.words)
    drawn(far, ["zero"] * 2, scale=3.0, batch_size=4)
    assert (seen[0] - 5).abs().max() < 1e-5


def test_images_do_not_depend_on_the_batch(model):
    texts = ["a thin three", "zero", "one", "a one", "three"]
    first, second = (drawn(model, texts, scale=2.0, batch_size=size) for size in (5, 2))
    assert first.shape == (5, 1, 8, 8) and (first.int() - second.int()).abs().max() <= 1


def test_noted_attention_is_a_share_of_the_words_and_leaves_no_hook_behind(model):
    tokens = model.tokens(["a thin three", "zero"])
    with record_attention(model.denoiser.net) as noted:
        model.denoiser(latents(2), 9.0, tokens)
    model.denoiser(latents(2), 9.0, tokens)
    assert len(noted) == 4 and noted[0].shape == (2, 4, 17)  # blocks: one down, two in the middle, one up
    for shares in noted:
        assert (shares.sum(-1) - 1).abs().max() < 1e-5 and shares[1, :, 2:].abs().max() == 0


def test_captions_are_dropped_whole_and_per_sample():
    seen = []
    net = torch.nn.Conv2d(4, 4, 1)
    forward = net.forward
    net.forward, net.null = lambda x, time, tokens: (seen.append(tokens), forward(x))[1], PAD
    tokens = torch.randint(1, 6, (400, 16), generator=torch.Generator().manual_seed(0))
    denoiser = Denoiser(net, noise_schedule("linear", 100), "v")
    loss = denoising_loss(denoiser, dropout=0.3, times="uniform", weighting="none")
    loss(torch.zeros(400, 4, 2, 2), tokens, Draws(0, "train", 0, CPU, 400))
    empty = (seen[0] == PAD).all(dim=1)
    assert torch.equal(empty, (seen[0] == PAD).any(dim=1)) and 0.2 < empty.float().mean() < 0.4


def training(net, latents, tokens, steps):
    """A whole training on captions: its step and its learners."""
    denoiser = Denoiser(net, noise_schedule("linear", 100), "v")
    loss = denoising_loss(denoiser, dropout=0.1, times="cosine", weighting="none")
    learners = {"denoiser": Learner(net, loss, Optimiser(net.parameters(), 1e-3, steps), Ema(net, 0.9))}
    return training_step(learners, latents, tokens, batch_size=8, seed=0, purpose="train"), learners


def test_training_on_captions_goes_on_to_the_bit(tmp_path):
    items, tokens = torch.randn(20, 4, 2, 2, generator=torch.Generator().manual_seed(0)), pad([[1, 2], [4]] * 10)

    def begun():
        return training(described()[1], items, tokens, steps=6)

    update, whole = begun()
    history = list(fit(update, state_of(whole), 6, 1))
    update, stopped = begun()
    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        for progress in fit(update, state_of(stopped), 6, 1, checkpoints):
            if progress.step == 4:
                raise InterruptedError
    update, resumed = begun()
    with Checkpoints(tmp_path / "run", 0) as checkpoints:
        assert list(fit(update, state_of(resumed), 6, 1, checkpoints)) == history
    a, b = (learners["denoiser"].ema.state_dict() for learners in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("image_size", [28, 56])
def test_the_same_code_learns_larger_images(image_size):
    """At 56 x 56, with one halving more, latents are as small as those of 28 x 28."""
    autoencoder = Autoencoder(image_size, 1, 4, [8, 8, 8] if image_size == 56 else [8, 8])
    images = torch.randint(0, 256, (20, 1, image_size, image_size), dtype=torch.uint8)
    standardise(autoencoder, images)
    assert autoencoder.latent_shape == (4, 7, 7)
    unet = described()[0]["net"] | {"image_size": 7}
    net = text_unet(unet, TEXT, len(WORDS))
    update, learners = training(net, encode(autoencoder, images), pad([[1, 2]] * 20), steps=3)
    (progress,) = fit(update, state_of(learners), 3, 3)
    assert progress.means["loss"] < 3
