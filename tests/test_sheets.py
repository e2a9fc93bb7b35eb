"""Sheets of images for any number of classes and any size."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.data import GREY, save_sheet
from report.classes import picture_of
from report.plots.names import LONGEST, is_drawable, names_for_pictures
from stages.shared.sheets import per_class, write_rows, write_sheet


def noise(number: int, size: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, 3, size, size), generator=draw, dtype=torch.uint8)


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(("classes", "shown"), [(2, 10), (10, 10), (20, 10), (40, 5), (100, 2), (300, 1)])
def test_many_classes_have_fewer_images_each(classes, shown):
    assert per_class(classes) == shown


def test_ten_classes_of_small_images_are_written_as_ever(tmp_path):
    images = noise(40, 28)
    save_sheet(tmp_path / "as_ever.png", images, 20)
    write_sheet(tmp_path / "sheet.png", images, 20)
    write_rows(tmp_path / "rows.png", [images[:20], images[20:]])
    assert (tmp_path / "sheet.png").read_bytes() == (tmp_path / "rows.png").read_bytes()
    assert (tmp_path / "sheet.png").read_bytes() == (tmp_path / "as_ever.png").read_bytes()


def test_rows_that_are_too_wide_go_on_below(tmp_path):
    first, second = noise(50, 64).split(25)
    write_rows(tmp_path / "rows.png", [first, second])
    sheet = pixels(tmp_path / "rows.png")
    assert sheet.shape == (4 * 66 - 2, 20 * 66 - 2, 3)
    for row, column, image in ((0, 0, first[0]), (1, 19, second[19]), (2, 0, first[20]), (3, 4, second[24])):
        tile = sheet[row * 66 : row * 66 + 64, column * 66 : column * 66 + 64]
        assert (tile == image.permute(1, 2, 0).numpy()).all()
    assert (sheet[2 * 66 :, 5 * 66 :] == GREY).all()


def test_tiles_make_the_sheet_that_they_were_cut_from():
    tiles = noise(6, 8).permute(0, 2, 3, 1).reshape(2, 3, 8, 8, 3).numpy()
    picture = picture_of(tiles)
    assert (
        picture.shape == (18, 28, 3)
        and (picture[10:, 10:18] * 255).round().astype(int).tolist() == tiles[1, 1].tolist()
    )
    assert np.allclose(picture[8:10] * 255, GREY)


def test_names_are_cut_or_numbered_where_they_cannot_be_drawn():
    long = "a name that is longer than a picture has room for"
    names = names_for_pictures(["cat", long, f"{long} 1", f"{long} 2", "\U0010fffd"])
    assert names.drawn[0] == "cat" and names.drawn[2:] == ["3", "4", "5"]
    cut = names_for_pictures(["cat", long]).drawn[1]
    assert len(cut) <= LONGEST and cut.endswith("…") and long.startswith(cut[:-1])
    assert names.take([3]).legend == f"4: {long} 2" and names.take([0]).legend == ""
    assert is_drawable("Ελέφαντας, слон, é") and not is_drawable("\U0010fffd")
