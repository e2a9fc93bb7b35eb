"""The benchmark of reading photographs, at toy size: what it writes is read by all that it measures."""

import pytest
import torch
from PIL import Image

from benchmarks import photographs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "LONG_EDGE", (20, 200))
    monkeypatch.setattr(photographs, "IMAGE_SIZE", 16)
    return tmp_path


def test_photographs_of_mixed_sizes_are_written_the_same_each_time(folder):
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    pixels = photographs.write_photographs(folder / "a", 12)
    assert photographs.write_photographs(folder / "b", 12) == pixels
    sizes = []
    for path in sorted((folder / "a").rglob("*.jpg")):
        assert path.read_bytes() == (folder / "b" / path.relative_to(folder / "a")).read_bytes()
        with Image.open(path) as image:
            sizes.append(image.size)
    assert sum(width * height for width, height in sizes) == pixels and len(set(sizes)) > 10


def test_every_way_reads_all_of_them(folder, monkeypatch):
    photographs.write_photographs(folder, 12)
    read = []
    for name in ("by_pillow", "ours"):
        original = getattr(photographs, name)

        def noting(root, original=original):
            found = original(root)
            read.append((torch.get_num_threads(), found if isinstance(found, int) else len(found)))

        monkeypatch.setattr(photographs, name, noting)
    before = torch.get_num_threads()
    rows = photographs.measure(folder)
    assert [row.what for row in rows] == ["a loop with Pillow", "prepare, 1 lane", "prepare, 2 lanes"]
    assert read == [(before, 12), (1, 12), (2, 12)] and all(row.seconds > 0 for row in rows)
    assert torch.get_num_threads() == before
