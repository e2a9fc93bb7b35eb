"""Sizes of networks that follow from the size of the images."""

import pytest
from param_files import default_params

from stages.params.params import AllParams

DEFAULT = {"patch": 2, "channels": [32, 64]}  # what the committed results were made with


def of(**changes):
    return AllParams.validated(default_params()).changed([f"{key}={value}" for key, value in changes.items()])


def folder(size):
    return of(**{"data.dataset": "folder", "data.image_size": size, "data.channels": 3})


def test_mnist_has_the_networks_of_the_recipe():
    params = of()
    for section in (params.model, params.vae, params.gan):
        assert section.model_dump(include=set(DEFAULT)) == DEFAULT
    assert params.autoencoder.channels == [32, 64] and params.latent.channels == [64]


@pytest.mark.parametrize("size", [4, 8, 16, 24, 28, 30, 32, 36, 48, 50, 64, 96, 100, 128, 192, 256])
def test_any_even_size_has_networks_that_fit(size):
    """The rules accept them, and attention is at 8 x 8 or coarser wherever halving leads there."""
    params = folder(size)
    for net in (params.model, params.vae, params.gan):
        side, left = divmod(size, net.patch * 2 ** (len(net.channels) - 1))
        assert not left and (side <= 8 or side % 2)
    side = size // 2 ** len(params.autoencoder.channels)
    assert side <= 8 or side % 2


@pytest.mark.parametrize(("size", "patch"), [(8, 1), (14, 2), (16, 2), (28, 4), (30, 2), (32, 4), (64, 4), (256, 4)])
def test_a_transformer_has_patches_that_divide_the_image_and_few_of_them(size, patch):
    changes = {"data.dataset": "folder", "data.image_size": size, "model.kind": "dit", "vae.patch": 1, "gan.patch": 1}
    assert of(**changes).model.patch == patch


def test_a_value_of_ones_own_stays_and_widths_follow_a_patch_of_ones_own():
    params = of(**{"model.patch": 1, "vae.channels": "[8, 16]"})
    assert params.model.channels == [32, 64, 128] and params.vae.channels == [8, 16] and params.vae.patch == 2


def test_what_is_auto_follows_later_changes():
    assert folder(64).changed(["data.image_size=32"]).model.channels == [32, 64]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.channels": "wide"}, "model.channels: 'wide' is not possible .allowed: a list of widths, or 'auto'"),
        ({"model.patch": 3}, "model.patch: 3 is not possible .allowed: 1, 2, 4, 'auto'"),
        ({"data.dataset": "cats"}, "data.dataset: 'cats' is not possible"),
        ({"data.dataset": "folder", "data.image_size": -2}, "data.image_size: -2 is not possible"),
    ],
)
def test_wrong_values_are_told_as_ever(change, message):
    with pytest.raises(ValueError, match=message):
        of(**change)
