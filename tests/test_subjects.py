"""What captions say of images without strokes is measured right on shapes that one can work out by hand."""

import pytest
import torch

from diffusion.choices import DATA_SETS
from diffusion.data import to_uint8
from diffusion.latents.properties import KINDS, OF_STROKES, kind_of
from diffusion.latents.subjects import CLEAR, background, measure

SIDE = 16


def picture(box, colour=(1.0, 1.0, 1.0), behind=(0.0, 0.0, 0.0)):
    """An image (1, C, 16, 16) in [-1, 1] of a box (top, bottom, left, right) of one colour before another."""
    pixels = torch.tensor(behind).view(1, -1, 1, 1).expand(1, len(behind), SIDE, SIDE).clone()
    top, bottom, left, right = box
    pixels[:, :, top:bottom, left:right] = torch.tensor(colour).view(1, -1, 1, 1)
    return 2 * pixels - 1


def measures(image):
    kind = "colour" if image.shape[1] == 3 else "lightness"
    return dict(zip(KINDS[kind].properties, measure(image)[0].tolist(), strict=True))


@pytest.mark.parametrize("behind", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 1.0, 0.0)])
def test_size_is_the_share_of_the_image_before_any_background(behind):
    found = measures(picture((4, 12, 4, 12), (1.0, 0.0, 0.5), behind))
    assert found["size"] == pytest.approx(1 / 4, abs=1e-4) and found["symmetry"] == pytest.approx(1, abs=1e-4)


def test_a_colour_is_that_of_the_subject_and_not_of_the_background():
    red, blue, grey = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)
    tones = [measures(picture((4, 12, 4, 12), colour, grey))["colour"] for colour in (blue, (0.0, 1.0, 0.0), red)]
    assert tones == pytest.approx([-1, 0, 1], abs=1e-3)
    assert measures(picture((4, 12, 4, 12), grey, blue))["colour"] == pytest.approx(0, abs=1e-3)


def test_lightness_is_that_of_the_subject():
    assert measures(picture((2, 6, 2, 6), (0.75,), (0.0,)))["lightness"] == pytest.approx(0.75, abs=1e-3)
    assert measures(picture((2, 6, 2, 6), (0.25,), (1.0,)))["lightness"] == pytest.approx(0.25, abs=1e-3)


def test_symmetry_falls_with_what_has_no_mirror_image():
    shares = [measures(picture((4, 12, left, 12), (1.0,), (0.0,)))["symmetry"] for left in (4, 6, 8)]
    assert shares == pytest.approx([1, 2 / 3, 0], abs=1e-3)  # columns with a mirror image among all: 8 of 8, 4 of 6, 0


def test_faint_differences_count_by_how_clear_they_are():
    assert measures(picture((4, 12, 4, 12), (CLEAR / 2,), (0.0,)))["size"] == pytest.approx(1 / 8, abs=1e-4)


def test_any_image_has_finite_measures_alone_as_among_others():
    noise = torch.rand(5, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (measure(noise)[2:3] - measure(noise[2:3])).abs().max() < 1e-12
    assert (measure(to_uint8(noise)) - measure(noise)).abs().max() < 0.02
    for empty in (torch.full((1, 3, 8, 8), -1.0), torch.full((1, 1, 8, 8), 9.0)):
        assert measure(empty).isfinite().all()


def test_the_background_is_what_most_of_the_border_shows():
    image = (picture((0, 16, 0, 3), (1.0,), (0.25,)) + 1) / 2  # at one of four sides
    assert background(image).tolist() == [[0.25]]


def test_what_is_said_follows_from_the_data_unless_it_is_chosen():
    assert kind_of("auto", True, 1) == "strokes" and kind_of("strokes", False, 3) == "strokes"
    assert kind_of("auto", False, 1) == kind_of("image", True, 1) == "lightness"
    assert kind_of("auto", False, 3) == "colour" and set(OF_STROKES) <= set(DATA_SETS)


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_no_caption_has_are_none_of_those_that_captions_have(kind):
    """Otherwise what they measure would be the training's own words."""
    properties = KINDS[kind].properties
    assert len(properties) == 3 and all(map(all, (part.unheard for part in properties.values())))
    said = [word for part in properties.values() for text in (*part.adjectives, *part.clauses) for word in text.split()]
    unheard = [word for part in properties.values() for words in part.unheard for word in words]
    assert not {*said} & {*unheard} and len(set(unheard)) == len(unheard)
    others = [word for part in properties.values() for words in part.paraphrases for word in words]
    parts = {part for word in unheard for part in word.split("-")} - {part for word in said for part in word.split("-")}
    assert not {part for word in others for part in word.split("-")} & parts and not {*others} & {*said, *unheard}
    stems = {part[:5] for part in parts}
    assert not [word for word in others for part in word.split("-") if part[:5] in stems]  # nor expansive for expanded
    assert len(set(others)) == len(others) and all(map(all, (part.paraphrases for part in properties.values())))
    adjectives = [word for part in properties.values() for word in part.adjectives]
    assert len(set(adjectives)) == len(adjectives)  # no word speaks of two grades, or two properties
