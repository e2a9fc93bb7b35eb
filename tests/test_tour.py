"""docs/tour.md runs as it stands, with fewer training steps, and prints and draws what it shows."""

import os
import re

import pytest
import tour
from PIL import Image

NUMBER = re.compile(r"\d[\d.]*")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder that it ran in, and what every step printed."""
    folder = tmp_path_factory.mktemp("tour")
    return folder, tour.run_in(folder, steps=4)


def test_every_step_prints_what_the_page_shows(ran):
    """Before the first training to the last digit, after it up to the numbers, which need the whole training."""
    _, printed = ran
    shown = [text for _, text in tour.blocks()]
    assert len(shown) == len(printed) == 12
    untrained = next(k for k, (code, _) in enumerate(tour.blocks()) if "fit(" in code)
    assert untrained == 5
    assert printed[:untrained] == shown[:untrained] and all(shown)
    for found, expected in zip(printed[untrained:], shown[untrained:], strict=True):
        assert NUMBER.sub("#", found) == NUMBER.sub("#", expected)


def test_every_picture_is_drawn_in_the_size_that_the_page_shows(ran):
    folder, _ = ran
    pictures = re.findall(r"\]\(tour/(.*?)\)", tour.TOUR.read_text())
    committed = tour.TOUR.with_suffix("")
    assert sorted(pictures) == sorted(os.listdir(folder)) == sorted(os.listdir(committed)) and len(pictures) >= 7
    for name in pictures:
        with Image.open(folder / name) as drawn, Image.open(committed / name) as shown:
            assert drawn.size == shown.size
