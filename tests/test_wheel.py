"""The wheel of this tree: all that its commands need, and nothing of the pipeline."""

import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from PIL import Image
from test_sample import small_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """What pip puts into site-packages."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_it_holds_the_library_and_the_pages(unpacked):
    packages = {path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"}
    assert packages == {"diffusion", "playground", "report"}
    for package in packages:
        files = [path.relative_to(ROOT / "src") for path in (ROOT / "src" / package).rglob("*") if path.is_file()]
        missing = [path for path in files if path.suffix != ".pyc" and not (unpacked / path).is_file()]
        assert missing == []


def test_its_commands_make_images_of_a_model_from_elsewhere(unpacked, tmp_path):
    """In a Python that knows nothing of this tree, as the console scripts do it."""
    small_model(tmp_path / "a.safetensors", image_channels=1)
    (information,) = unpacked.glob("*.dist-info")
    scripts = {entry.name: entry for entry in PathDistribution(information).entry_points}
    assert set(scripts) == {"diffusion-sample", "diffusion-export"}
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r})"
    for name, arguments in (
        ("diffusion-sample", ["--num", "4", "--steps", "2", "--out", "x.png"]),
        ("diffusion-export", ["--format", "diffusers", "--out", "folder"]),
    ):
        module, function = scripts[name].module, scripts[name].attr
        code += f"; import {module}; assert {module}.__file__.startswith({str(unpacked)!r})"
        code += f"; sys.argv[1:] = {['--model', 'a.safetensors', *arguments]}; {module}.{function}()"
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 16
    assert (tmp_path / "folder/unet/class_unet.py").is_file()
