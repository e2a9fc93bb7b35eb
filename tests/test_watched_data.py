"""DVC watches the images themselves: other files, other results."""

import json

import pytest
from pipeline import working_tree
from test_data_rules import noise, write_images


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return working_tree(tmp_path_factory.mktemp("watched") / "repository")


def test_a_deleted_image_is_not_restored_from_the_cache(repository):
    """Without the folder among the dependencies, the run-cache restores the split of images that are gone."""
    root = repository.path.parent / "images"
    write_images(root, {name: noise(20, seed) for seed, name in enumerate("ab")})
    folder = ("-S", "data.dataset=folder", "-S", f"data.root={root}", "-S", "data.image_size=16")
    repository.dvc("exp", "run", *folder, "-S", "seed=1", "prepare")
    assert number(repository) == 40
    repository.dvc("exp", "run", *folder, "-S", "seed=0", "prepare")
    (root / "a" / "3.png").unlink()
    assert "prepare" in json.loads(repository.dvc("status", "--json", "prepare").output)
    again = repository.dvc("exp", "run", *folder, "-S", "seed=1", "prepare")
    assert again.ran == ["prepare"] and not again.from_cache and number(repository) == 39


def test_a_folder_that_is_missing_is_one_line_of_dvc(repository):
    before = (repository.path / "dvc.lock").read_bytes()
    ended = repository.dvc("exp", "run", "-S", "data.dataset=folder", "-S", "data.root=nowhere", "prepare", fails=True)
    assert "nowhere" in ended.output and "Traceback" not in ended.output
    assert (repository.path / "dvc.lock").read_bytes() == before


def number(repository):
    splits = json.loads((repository.path / "results/data/card.json").read_text())["splits"]
    return sum(part["n"] for part in splits.values())
