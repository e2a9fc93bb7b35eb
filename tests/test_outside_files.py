"""Files from outside: each bad one is refused by one line that names it, or is skipped and counted."""

import copy
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision.datasets.utils
from fuzz import GIBI_OF_ZEROS, IDX_NAMES, idx, image_of, load_folder, load_idx, png_of, write_idx_folder
from PIL import Image
from safetensors.torch import save_file
from test_failures import rewritten, write_autoencoder, write_judge, write_latent, write_model

from benchmarks.load import peak_memory
from diffusion.denoiser import load_denoiser
from diffusion.latents.autoencoder import load_autoencoder
from diffusion.latents.model import load_latent
from diffusion.quality.judge import Judge
from diffusion.sources.image_file import MAX_PIXELS, read_image
from diffusion.tensors import fitted, load_tensors, save_tensors
from stages import prepare
from stages.params.params import Params

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
MEBI = 2**20
IMAGES, LABELS = IDX_NAMES[:2]
FUZZ_TIMEOUT_SECONDS = 600


def refusal(named, read, *arguments):
    """The one line that names a file or a key."""
    with pytest.raises(ValueError) as caught:
        read(*arguments)
    line = str(caught.value)
    assert "\n" not in line and str(named) in line, line
    return line


def test_hundreds_of_bad_files_are_refused_in_one_line_each(tmp_path):
    """In a process of its own, that is stopped where a file makes it hang."""
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name("fuzz.py"), tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT, ROOT / "tests")))},
        capture_output=True,
        text=True,
        timeout=FUZZ_TIMEOUT_SECONDS,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    found = json.loads(process.stdout)
    assert sum(found["refused"].values()) >= 400 and min(found["refused"].values()) >= 50, found
    assert found["peak"] < 1024 * MEBI, found


@pytest.fixture
def raw(tmp_path):
    """The folder of a small MNIST below tmp_path."""
    return write_idx_folder(tmp_path)


@pytest.fixture
def pets(tmp_path):
    """Eight images of each of two classes, each of one grey of its own."""
    for first, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(8):
            Image.new("L", (9, 9), 20 * k + first).save(tmp_path / "pets" / name / f"{k}.png")
    return tmp_path / "pets"


# IDX files


def test_packed_idx_files_are_the_same_data(tmp_path, raw):
    plain = load_idx(tmp_path)
    for name in IDX_NAMES:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes()))
        (raw / name).unlink()
    assert load_idx(tmp_path).checksum == plain.checksum


PACKED = {
    "empty": b"",
    "no gzip": b"not packed",
    "cut": gzip.compress(idx(20, 5, 4))[:-9],
    "wrong sum": gzip.compress(idx(20, 5, 4))[:-8] + bytes(8),
    "broken stream": gzip.compress(idx(20, 5, 4))[:30] + b"\xff" * 30,
    "something behind": gzip.compress(idx(20, 5, 4)) + b"more",
    "a bomb": GIBI_OF_ZEROS,
    "a bomb behind a header": gzip.compress(idx(20, 5, 4)[:16]) + GIBI_OF_ZEROS,
    "a zip": b"PK\x03\x04" + bytes(90),
}


@pytest.mark.parametrize("fault", PACKED)
def test_spoiled_packed_files_are_refused_in_little_memory(tmp_path, raw, fault):
    (raw / IMAGES).unlink()
    path = raw / f"{IMAGES}.gz"
    path.write_bytes(PACKED[fault])
    with peak_memory() as peak:
        refusal(path, load_idx, tmp_path)
    assert peak[0] < 64 * MEBI


HEADERS = {
    "a tebibyte": (0x803, 2**10, 2**15, 2**15),
    "sizes whose product overflows": (0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    "no image": (0x803, 0, 28, 28),
    "images without pixels": (0x803, 20, 0, 28),
    "more than there is": (0x803, 21, 5, 4),
    "less than there is": (0x803, 19, 5, 4),
    "other type": (0xD03, 20, 5, 4),
    "other byte order": (0x03080000, 20, 5, 4),
    "no magic number": (0, 20, 5, 4),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_headers_that_lie_are_refused(tmp_path, raw, fault):
    path = raw / IMAGES
    path.write_bytes(struct.pack(">4I", *HEADERS[fault]) + idx(20, 5, 4)[16:])
    with peak_memory() as peak:
        line = refusal(path, load_idx, tmp_path)
    assert "IDX" in line and peak[0] < 64 * MEBI


def test_a_file_without_end_is_refused_before_it_is_read(tmp_path, raw):
    os.truncate(raw / IMAGES, 2**36)  # takes no room on the disk
    assert "68,719,476,736 bytes" in refusal(raw / IMAGES, load_idx, tmp_path)


def test_links_may_not_leave_the_root(tmp_path, raw):
    (raw / LABELS).rename(raw / "other")
    (raw / LABELS).symlink_to("other")
    load_idx(tmp_path)
    (raw / "other").rename(tmp_path / "other")
    (raw / LABELS).unlink()
    (raw / LABELS).symlink_to(tmp_path / "other")
    load_idx(tmp_path)  # still below data.root
    (tmp_path / "MNIST").rename(tmp_path / "linked")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "MNIST").symlink_to(tmp_path / "linked")
    refusal(tmp_path / "root/MNIST/raw" / IMAGES, load_idx, tmp_path / "root")


# archives: torchvision's downloads are the only ones


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST", "KMNIST"])
def test_every_download_is_one_packed_file_with_a_checksum(kind):
    """gzip holds no names: nothing is written but what the archive is called without its ending."""
    resources = getattr(torchvision.datasets, kind).resources
    assert [name for name, _ in resources] == [f"{name}.gz" for name in IDX_NAMES]
    assert all(len(bytes.fromhex(md5)) == 16 for _, md5 in resources)


def archives():
    slipping, packed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(slipping, "w") as archive:
        archive.writestr("../../slipped", "outside of the folder")
    with gzip.GzipFile("../../slipped", "wb", fileobj=packed) as file:
        file.write(idx(20, 5, 4))
    return {"zip slip": slipping.getvalue(), "gzip that names a place": packed.getvalue(), "bomb": GIBI_OF_ZEROS}


@pytest.mark.parametrize("kind", archives())
def test_a_download_with_another_checksum_is_never_unpacked(tmp_path, monkeypatch, kind):
    utils = torchvision.datasets.utils
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(utils, "_urlretrieve", lambda url, path, *_: Path(path).write_bytes(archives()[kind]))
    with peak_memory() as peak:
        refusal("data.root", load_idx, tmp_path / "root")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()] and peak[0] < 64 * MEBI


def test_names_inside_of_an_archive_are_not_used(tmp_path, raw):
    """Packed files that lie there are read where they lie."""
    (raw / IMAGES).unlink()
    (raw / f"{IMAGES}.gz").write_bytes(archives()["gzip that names a place"])
    before = sorted(tmp_path.rglob("*"))
    load_idx(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


# folders of images


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(pets):
    for width, height in ((8193, 8193), (2**26 + 1, 1), (2**31 - 1, 2**31 - 1)):
        (pets / "cat/1.png").write_bytes(png_of(width, height))
        with peak_memory() as peak:
            line = refusal(pets / "cat/1.png", load_folder, pets)
        assert "pixels" in line and peak[0] < 64 * MEBI


def test_the_largest_image_allowed_takes_less_than_a_gibibyte(pets):
    """With transparency, which takes most."""
    side = int(MAX_PIXELS**0.5)
    (pets / "cat/1.png").write_bytes(png_of(side, side, 6, bytes(side * (1 + 4 * side))))
    with peak_memory() as peak:
        load_folder(pets)
    assert 4 * side**2 < peak[0] < 1024 * MEBI


def test_a_file_of_an_image_may_not_be_endless(pets):
    os.truncate(pets / "cat/1.png", 2**36)
    assert "68,719,476,736 bytes" in refusal(pets / "cat/1.png", load_folder, pets)


def pipe(path):
    path.unlink()
    os.mkfifo(path)  # who opens it waits for a writer


def link_out(path):
    path.unlink()
    path.symlink_to(ROOT / "README.md")


def link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


SPOILED = {
    "a pipe": pipe,
    "a link out": link_out,
    "a link to itself": link_to_itself,
    "no pixels": lambda path: path.write_bytes(png_of(0, 0)),
    "32 bits a pixel": lambda path: Image.new("I", (9, 9)).save(path, format="TIFF"),
    "floats": lambda path: Image.new("F", (9, 9)).save(path, format="TIFF"),
    "a zip": lambda path: path.write_bytes(archives()["zip slip"]),
    "a script": lambda path: path.write_text("<svg xmlns='x'><script>alert(1)</script></svg>"),
    "PostScript": lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_what_is_no_image_is_named(pets, fault):
    SPOILED[fault](pets / "cat/1.png")
    refusal(pets / "cat/1.png", load_folder, pets)


def test_an_image_that_may_not_be_read_is_named(pets, monkeypatch):
    def refused(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refused)
    assert "Permission denied" in refusal(pets / "cat/0.png", load_folder, pets)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [*((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")), ("CMYK", "JPEG"), ("YCbCr", "TIFF")],
)
def test_every_mode_of_8_bits_is_read(pets, mode, kind):
    Image.new("RGB", (9, 9), "white").convert(mode).save(pets / "cat/1.png", kind)
    assert read_image(pets / "cat/1.png", 9, 1).float().mean() > 250


def test_one_class_is_none(pets):
    for file in (pets / "dog").iterdir():
        file.unlink()
    (pets / "dog").rmdir()
    assert "1 class folders" in refusal("data.root", load_folder, pets)


def test_an_empty_class_is_named(pets):
    (pets / "wolf").mkdir()
    (pets / "wolf/.hidden.png").write_bytes(image_of("PNG", "L"))
    refusal(pets / "wolf", load_folder, pets)


BREAKING = [
    "a\nb",
    "\x1b[31mred",
    "back\u202ewards",
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    os.fsdecode(b"caf\xe9"),
    " \u202f",
]


@pytest.mark.parametrize("name", BREAKING)
def test_names_that_would_break_tables_and_messages_are_refused(pets, name):
    shutil.copytree(pets / "dog", pets / name)
    line = refusal(pets, load_folder, pets)
    assert line.isprintable() and "holds the class folder" in line
    (pets / name).rename(pets / "cat" / name)
    assert refusal(pets / "cat", load_folder, pets).isprintable()  # since a class folder holds files alone


@pytest.mark.parametrize("name", [*BREAKING, "Screenshot 9.41.00\u202fAM", "e\u0301le\u0301phant", "x" * 250])
def test_a_file_may_have_any_name(pets, name):
    """Names of files reach no table."""
    whole = load_folder(pets)
    (pets / "dog/7.png").rename(pets / "dog" / f"7{name}")  # so that the order stays the same
    assert load_folder(pets).checksum == whole.checksum
    (pets / "dog" / f"7{name}").write_text("no image")
    assert refusal(pets / "dog" / "7", load_folder, pets).isprintable()


def run_prepare(root, folder):
    params = Params.load(ROOT).changed(["data.dataset=folder", f"data.root={root}"])
    prepare.main(params, out=folder / "out", results=folder / "results")
    return json.loads((folder / "results/card.json").read_text())


def test_what_is_skipped_is_counted_and_reported(tmp_path, pets, capsys):
    whole = run_prepare(pets, tmp_path / "whole")
    assert "skipped" not in whole and not capsys.readouterr().out
    (pets / ".git").mkdir()
    (pets / "cat/.DS_Store").write_text("hidden")
    (pets / "LICENSE").write_text("beside the class folders")
    found = run_prepare(pets, tmp_path / "found")
    assert found == whole | {"skipped": 3}
    assert "3 files" in capsys.readouterr().out


# weights


WRITERS = {
    "denoiser": (write_model, lambda path: load_denoiser(path, CPU, "fp32")),
    "judge": (write_judge, lambda path: Judge.load(path, CPU)),
    "autoencoder": (write_autoencoder, lambda path: load_autoencoder(path, CPU)),
    "latent": (write_latent, lambda path: load_latent(path, CPU, "fp32")),
}


@pytest.fixture(params=WRITERS)
def weights(request, tmp_path):
    """A file of weights of every kind, and what reads it."""
    write, read = WRITERS[request.param]
    path = tmp_path / f"{request.param}.safetensors"
    write(path)
    read(path)
    return path, read


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(weights, value):
    path, read = weights
    tensors, description = load_tensors(path)
    tensors[sorted(tensors)[0]].view(-1)[-1] = value
    save_tensors(path, tensors, description)
    assert "NaN or infinity" in refusal(path, read, path)


def test_a_header_of_any_size_is_refused_before_it_is_read(weights):
    path, read = weights
    content = path.read_bytes()
    for length in (2**63, 2**30, len(content), 0):
        path.write_bytes(length.to_bytes(8, "little") + content[8:])
        refusal(path, read, path)
    path.write_bytes((2**25).to_bytes(8, "little") + b"{" + b" " * (2**25 - 2) + b"}")
    with peak_memory() as peak:
        assert "33,554,432 bytes" in refusal(path, read, path)
    assert peak[0] < 64 * MEBI


@pytest.mark.parametrize(
    "description",
    ["[" * 100_000, '{"a":' * 100_000, "1" * 5_000, "{", "[]", "null", '"text"', '{"kind": NaN}'],
    ids=lambda text: text[:12],
)
def test_a_description_that_is_none_is_refused(weights, description):
    path, read = weights
    save_file({"a": torch.zeros(2)}, path, {"description": description})
    refusal(path, read, path)


def places_of_numbers(description, place=()):
    """The keys that lead to every number of a description."""
    if isinstance(description, dict | list):
        for key, inner in description.items() if isinstance(description, dict) else enumerate(description):
            yield from places_of_numbers(inner, (*place, key))
    elif isinstance(description, int | float):
        yield place


def with_number(description, place, value):
    """The description with another number there."""
    changed = section = copy.deepcopy(description)
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    return changed


@pytest.mark.parametrize("value", [-1, 1_000, 30_000, 2**20, 2**31, 10**30, 1e300, float("inf")])
def test_a_number_that_asks_for_more_than_the_file_holds_takes_no_memory(weights, value):
    """30,000 channels are 30 GB of weights."""
    path, read = weights
    tensors, description = load_tensors(path)
    for place in places_of_numbers(description):
        save_tensors(path, tensors, with_number(description, place, value))
        with peak_memory() as peak:
            try:
                read(path)
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
        assert peak[0] < 128 * MEBI, place


def test_a_weight_that_is_set_again_counts_once(tmp_path):
    """As transformers does when it loads."""
    net = torch.nn.Linear(2, 2)
    with fitted(tmp_path, net.state_dict(), {}):
        for _ in range(3):
            net.weight = torch.nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="more weights than the file holds"), fitted(tmp_path, net.state_dict(), {}):
        torch.nn.Linear(2, 3)


def test_class_names_must_be_as_many_as_classes(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path)
    for names in (None, [], ["a"], 10):
        rewritten(path, lambda description, names=names: description | {"class_names": names})
        refusal(path, load_denoiser, path, CPU, "fp32")
