"""What `prepare` refuses once it has seen the data: all of it at once, before anything is written."""

import json

import pytest
import torch
from param_files import set_param, smoke_params, write_params
from PIL import Image

from stages import prepare
from stages.params.params import AllParams, Params


def params_of(root, **changes):
    """Params for the images in a folder."""
    given = {"data.dataset": "folder", "data.root": root, "data.image_size": 16} | changes
    return AllParams.validated(smoke_params()).changed([f"{key}={value}" for key, value in given.items()])


def write_images(root, images_of):
    """A folder of PNG files for every class, of uint8 arrays (H, W)."""
    for name, images in images_of.items():
        (root / name).mkdir(parents=True)
        for k, image in enumerate(images):
            Image.fromarray(image.numpy()).save(root / name / f"{k}.png")


def noise(number, seed=0):
    return torch.randint(0, 256, (number, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def prepared(tmp_path, **changes):
    """The data card."""
    prepare.main(params_of(tmp_path / "images", **changes), out=tmp_path / "out", results=tmp_path / "results")
    return json.loads((tmp_path / "results/card.json").read_text())


def test_all_conflicts_are_told_in_one_line_before_anything_is_written(tmp_path):
    flat = torch.full((60, 16, 16), 128, dtype=torch.uint8)
    write_images(tmp_path / "images", dict.fromkeys("abcde", flat))
    with pytest.raises(ValueError, match="data: all 240 training images are the same") as caught:
        prepared(tmp_path, **{"sample_latent.num_samples": 4})
    line = str(caught.value)
    assert "\n" not in line and "sample_latent.num_samples: 4 is not possible (allowed: 5, one for each" in line
    assert not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("results/*"))


def test_one_test_image_a_class(tmp_path):
    write_images(tmp_path / "images", {name: noise(5, seed) for seed, name in enumerate("ab")})
    with pytest.raises(ValueError, match="data: no class has two test images, .*data.test_limit"):
        prepared(tmp_path)
    assert not list(tmp_path.glob("out/*"))


def test_duplicates_across_the_splits_are_counted(tmp_path):
    same = noise(1).expand(20, -1, -1)
    write_images(tmp_path / "images", {"constant": same, "other": noise(20, 1)})
    assert prepared(tmp_path)["duplicates"] == 4
    write_images(tmp_path / "again" / "images", {name: noise(20, seed) for seed, name in enumerate("ab")})
    assert "duplicates" not in prepared(tmp_path / "again")


def test_prepare_tells_what_will_stop_a_chapter(tmp_path, monkeypatch, capsys):
    """It goes on, since the spine needs no chapter."""
    write_images(tmp_path / "images", {name: noise(20, seed) for seed, name in enumerate("abcde")})
    write_params(tmp_path, smoke_params() | {"data": params_of(tmp_path / "images").data.model_dump()})
    set_param(tmp_path, "sample_latent.num_samples", 4)
    set_param(tmp_path, "captions.held_out", 6)
    set_param(tmp_path, "score.heun_steps", 2000)
    monkeypatch.chdir(tmp_path)
    prepare.main(Params.load(tmp_path), out=tmp_path / "out", results=tmp_path / "results")
    told = capsys.readouterr().out
    assert "score.heun_steps: 2000" in told
    assert "captions.held_out: 6 is not possible" in told and "sample_latent.num_samples: 4" in told
