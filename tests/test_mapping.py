"""Data larger than memory: the same bytes as in memory, and little of them resident."""

import hashlib
import re
import time
import weakref
from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchmarks.load import Load, measure
from diffusion import mapping, tensors
from diffusion.data import Dataset, load_split, moments, save_split
from diffusion.mapping import blocks_of, bytes_of, give_back, rows_of, scratch
from diffusion.sources.splits import _checksum
from stages.prepare import duplicates

MEBI = 2**20
DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (3000, 3, 4, 4), generator=DRAW, dtype=torch.uint8)
LABELS = torch.arange(3000) % 3
NUMBER = 400 * MEBI // (3 * 64 * 64)


@pytest.fixture
def all_is_large(monkeypatch):
    for module in (mapping, tensors):
        monkeypatch.setattr(module, "LARGE", 1)


def test_rows_are_those_of_the_images(all_is_large):
    order = torch.randperm(3000, generator=DRAW)[:2500]
    assert torch.equal(rows_of(IMAGES, order), IMAGES[order])


def test_a_split_that_is_mapped_is_the_split_that_was_saved(tmp_path, all_is_large):
    save_split(tmp_path / "a.safetensors", Dataset(IMAGES, LABELS, ("a", "b", "c")), {})
    found = load_split(tmp_path / "a.safetensors")
    assert torch.equal(found.images, IMAGES) and torch.equal(found.labels, LABELS)


def test_a_damaged_split_is_refused_before_it_is_mapped(tmp_path, all_is_large):
    path = tmp_path / "a.safetensors"
    save_split(path, Dataset(IMAGES, LABELS, ("a", "b", "c")), {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged"):
        load_split(path)


def test_blocks_are_the_rows_in_their_order(monkeypatch):
    monkeypatch.setattr(mapping, "BLOCK_BYTES", 1000)
    blocks = [*blocks_of(IMAGES)]
    assert torch.equal(torch.cat(blocks), IMAGES) and max(block.nbytes for block in blocks) == 20 * 48
    assert len([*blocks_of(torch.zeros(2, 2000))]) == 2


def test_checksum_and_duplicates_know_no_blocks(monkeypatch):
    parts = [Dataset(IMAGES[:1000], LABELS[:1000], ("a",)), Dataset(IMAGES[900:], LABELS[900:], ("a",))]
    whole = hashlib.sha256(b"".join(part.images.numpy().tobytes() + part.labels.numpy().tobytes() for part in parts))
    monkeypatch.setattr(mapping, "BLOCK_BYTES", 1000)
    assert _checksum(parts) == whole.hexdigest()
    assert duplicates(*(part.images for part in parts)) == 100


def test_nothing_keeps_a_mapping(all_is_large, monkeypatch):
    made = []
    monkeypatch.setattr(mapping.mmap, "mmap", lambda *a, _mmap=mapping.mmap.mmap: made.append(_mmap(*a)) or made[-1])
    images = scratch((10, 4))
    reference = weakref.ref(made.pop())
    give_back()
    assert reference() is not None
    del images
    assert soon(lambda: reference() is None)  # the thread may have had it in hand


def test_what_is_read_now_and_then_is_given_back(tmp_path):
    (tmp_path / "a").write_bytes(bytes(64 * MEBI))
    content = bytes_of(tmp_path / "a")
    before = resident_of_files()
    with mapping._lock:  # the thread waits for it
        assert not content.any() and resident_of_files() > before + 48 * MEBI
    assert soon(lambda: resident_of_files() < before + 8 * MEBI)


def resident_of_files():
    return 1024 * int(re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def soon(holds, seconds=10):
    end = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def test_what_is_written_to_a_mapped_file_does_not_reach_it(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    bytes_of(tmp_path / "a")[0] = 0
    assert (tmp_path / "a").read_bytes() == b"abc"


def test_a_full_disk_is_an_error_and_no_death(all_is_large):
    with pytest.raises(OSError, match=re.escape(mapping.tempfile.gettempdir())):
        scratch((2**60,))


def test_a_file_written_in_blocks_is_that_of_safetensors(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "BLOCK_BYTES", 1000)
    many = {
        "images": IMAGES,
        "labels": LABELS,
        'ä "quoted"\\\n\x7f': torch.randn(3, generator=DRAW).to(torch.bfloat16),
        "scalar": torch.tensor(0.5, dtype=torch.float64),
        "none": torch.empty(0, 3),
        "truth": torch.tensor([True, False, True]),
        "half": torch.ones(7, 1, dtype=torch.float16),
    }
    for described in ({}, {"description": '{"a": "ö\x1f\\u2028\u2028/"}'}):
        for some in ({"images": IMAGES}, many):
            safetensors.torch.save_file(some, tmp_path / "theirs", described)
            with open(tmp_path / "ours", "wb") as file:
                tensors.save_file(some, file, described)
            assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def write_large():
    pixels = scratch((NUMBER, 3, 64, 64))
    for block in blocks_of(pixels):
        block.random_(0, 256)
    save_split(Path("data/train.safetensors"), Dataset(pixels, torch.zeros(NUMBER, dtype=torch.long), ("a",)), {})


def read_large():
    train = load_split(Path("data/train.safetensors"))
    assert 0.57 < moments(train.images)[1] < 0.59
    order = torch.randperm(NUMBER)
    assert len(train.take(order).images) == NUMBER


def test_reading_400_mebibytes_leaves_few_of_them_resident():
    assert measure(Load("read", NUMBER, write_large, read_large)).peak < 250 * MEBI


def test_writing_400_mebibytes_leaves_few_of_them_resident():
    assert measure(Load("write", NUMBER, Path, write_large)).peak < 250 * MEBI
