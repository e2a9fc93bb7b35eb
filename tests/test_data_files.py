"""CIFAR-10, SVHN and EMNIST's letters: files in their formats, written here, are read as what they say."""

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision.datasets.utils
from fuzz import write_idx_folder
from torchvision.datasets import EMNIST, SVHN

from diffusion.randomness import generator_for
from diffusion.sources import cifar, mnist
from diffusion.sources.idx import idx_file
from diffusion.sources.splits import load_splits
from diffusion.sources.table import DATASETS

BATCHES = [name for part in cifar.FILES for name in part]
LETTER_FILES = [name for pair in mnist.LETTER_FILES for name in pair]


def load(name, root):
    return load_splits(name, root, generator_for(0, "split"))


def refusal(name, root, *parts):
    """What a damaged data set is refused with: one line that says all of this."""
    with pytest.raises(ValueError) as caught:
        load(name, root)
    line = str(caught.value)
    assert "\n" not in line and all(str(part) in line for part in parts), line


def by_first_pixel(dataset):
    """The images of a split by their pixel in the upper left, in the first channel."""
    return {
        int(image[0, 0, 0]): (image, dataset.class_names[label])
        for image, label in zip(dataset.images, dataset.labels, strict=True)
    }


@pytest.fixture
def downloads(monkeypatch):
    """The content of downloads by the ending of their URL; every other one fails."""
    known = {}

    def fetch(url, path, *_):
        Path(path).write_bytes(known[url.rsplit("/", 1)[-1]])

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", fetch)
    return known


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# CIFAR-10


def cifar_record(label, number):
    """A record whose red is `number` above 100, green 50, blue 0 at the left and 200 at the right."""
    image = np.zeros((3, 32, 32), np.uint8)
    image[0], image[1], image[2, :, 16:] = 100 + number, 50, 200
    return bytes([label]) + image.tobytes()


def cifar_files():
    """Two images in each of the six files."""
    return {name: cifar_record(2 * k % 10, 2 * k) + cifar_record(9, 2 * k + 1) for k, name in enumerate(BATCHES)}


@pytest.fixture
def batches(tmp_path):
    folder = tmp_path / cifar.FOLDER
    folder.mkdir()
    for name, content in cifar_files().items():
        (folder / name).write_bytes(content)
    return folder


def test_cifar10_has_its_channels_labels_and_split(tmp_path, batches):
    splits = load("cifar10", tmp_path)
    assert splits.train.images.shape == (10, 3, 32, 32) and splits.test.images.shape == (2, 3, 32, 32)
    image, name = by_first_pixel(splits.train)[104]
    assert name == "deer" and (image[0] == 104).all() and (image[1] == 50).all()
    assert (image[2, :, :16] == 0).all() and (image[2, :, 16:] == 200).all()
    assert {name for _, name in by_first_pixel(splits.test).values()} == {"airplane", "truck"}


@pytest.mark.parametrize("content", [b"", cifar_record(1, 1)[:-1], cifar_record(10, 1), cifar_record(1, 1) + b"\0"])
def test_a_damaged_batch_of_cifar10_is_named(tmp_path, batches, content):
    (batches / "data_batch_3.bin").write_bytes(content)
    refusal("cifar10", tmp_path, batches / "data_batch_3.bin", "CIFAR-10")


def test_the_pickles_of_cifar10_are_not_even_looked_at(tmp_path, batches):
    python = tmp_path / "cifar-10-batches-py"
    python.mkdir()
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (python / name).write_bytes(b"cposix\nsystem\n(S'false'\ntR.")
    assert len(load("cifar10", tmp_path).train.images) == 10


def test_cifar10_is_downloaded_by_its_checksum(tmp_path, monkeypatch, downloads):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        for name, content in {**cifar_files(), "../../slipped": b"", "readme.html": b""}.items():
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    downloads["cifar-10-binary.tar.gz"] = archive.getvalue()
    root = tmp_path / "new"
    refusal("cifar10", root, "data.root", "cifar-10-batches-bin", "mnist5k")  # another file than the authors'
    assert not files_in(tmp_path)
    monkeypatch.setattr(cifar, "MD5", md5(archive.getvalue()))
    assert len(load("cifar10", root).train.images) == 10
    assert files_in(tmp_path) == [f"new/{cifar.FOLDER}/{name}" for name in sorted(BATCHES)]


# SVHN


def svhn_file(labels, first, **options):
    """A MATLAB file whose images have `first`, `first` + 1, ... in red, and the number of their row in green."""
    images = np.zeros((32, 32, 3, len(labels)), np.uint8)
    images[:, :, 0] = first + np.arange(len(labels))
    images[:, :, 1] = np.arange(32)[:, None, None]
    content = io.BytesIO()
    scipy.io.savemat(content, {"X": images, "y": np.array(labels, np.uint8)[:, None]}, **options)
    return content.getvalue()


@pytest.fixture
def houses(monkeypatch):
    """The content of both files, as torchvision would know them."""
    files = {
        "train_32x32.mat": svhn_file([10, 1, 9, 10], 40, do_compression=True),
        "test_32x32.mat": svhn_file([3, 10], 90),
    }
    known = {
        part: [f"http://a.b/{part}_32x32.mat", name, md5(files[name])]
        for part, name in zip(("train", "test"), files, strict=True)
    }
    monkeypatch.setattr(SVHN, "split_list", known)
    return files


def write_houses(root, houses):
    (root / "SVHN").mkdir(parents=True)
    for name, content in houses.items():
        (root / "SVHN" / name).write_bytes(content)
    return root / "SVHN"


def test_svhn_has_its_rows_labels_and_split(tmp_path, houses):
    write_houses(tmp_path, houses)
    splits = load("svhn", tmp_path)
    assert splits.train.images.shape == (4, 3, 32, 32)
    image, _ = by_first_pixel(splits.train)[40]
    assert (image[0] == 40).all() and (image[1].numpy() == np.arange(32)[:, None]).all() and (image[2] == 0).all()
    assert {k: name for k, (_, name) in by_first_pixel(splits.train).items()} == {40: "0", 41: "1", 42: "9", 43: "0"}
    assert {k: name for k, (_, name) in by_first_pixel(splits.test).items()} == {90: "3", 91: "0"}


def test_another_file_than_the_known_one_is_not_parsed(tmp_path, houses, monkeypatch):
    folder = write_houses(tmp_path, houses)
    (folder / "train_32x32.mat").write_bytes(svhn_file([1, 2], 7))
    monkeypatch.setattr(scipy.io, "loadmat", None)
    refusal("svhn", tmp_path, folder / "train_32x32.mat", "SVHN")


def test_svhn_downloads_what_is_missing(tmp_path, houses, downloads):
    downloads |= {"test_32x32.mat": houses["test_32x32.mat"]}
    folder = write_houses(tmp_path, houses)
    (folder / "test_32x32.mat").unlink()
    assert len(load("svhn", tmp_path).test.images) == 2
    assert files_in(tmp_path) == ["SVHN/test_32x32.mat", "SVHN/train_32x32.mat"]


# EMNIST's letters


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def letter_files():
    """An upright stroke in the left half of 26 letters of training and 2 of test, as the files hold it: lying."""
    lying = np.zeros((26, 28, 28))
    lying[:, 5, 3:20] = 1 + np.arange(26)[:, None]
    labels = 1 + np.arange(26)
    return dict(zip(LETTER_FILES, map(idx, (lying, labels, lying[24:], labels[24:])), strict=True))


def test_letters_stand_upright_and_start_at_a(tmp_path):
    raw = tmp_path / "EMNIST/raw"
    raw.mkdir(parents=True)
    for name, content in letter_files().items():
        (raw / name).write_bytes(content)
    splits = load("emnist_letters", tmp_path)
    assert splits.train.images.shape == (26, 1, 28, 28) and splits.train.class_names == tuple(mnist.LETTERS)
    for image, label in zip(splits.train.images, splits.train.labels, strict=True):
        assert (image[0, 3:20, 5] == 1 + label).all() and image.count_nonzero() == 17
    assert sorted(splits.test.labels.tolist()) == [24, 25]


@pytest.mark.parametrize("label", [0, 27])
def test_a_label_that_is_no_letter_is_refused(tmp_path, label):
    raw = tmp_path / "EMNIST/raw"
    raw.mkdir(parents=True)
    for name, content in letter_files().items():
        (raw / name).write_bytes(content)
    (raw / LETTER_FILES[3]).write_bytes(idx(np.array([label, 1])))
    refusal("emnist_letters", tmp_path, raw / LETTER_FILES[3], "1 to 26")


def test_letters_are_taken_from_the_archive_of_all(tmp_path, monkeypatch, downloads):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in {
            **letter_files(),
            "emnist-digits-train-images-idx3-ubyte": b"",
            "../slipped": b"",
        }.items():
            packed.writestr(f"gzip/{name}.gz", gzip.compress(content))
    downloads["gzip.zip"] = archive.getvalue()
    monkeypatch.setattr(EMNIST, "md5", md5(archive.getvalue()))
    assert len(load("emnist_letters", tmp_path / "new").train.images) == 26
    assert files_in(tmp_path) == [f"new/EMNIST/raw/{name}.gz" for name in sorted(LETTER_FILES)]


# names of files


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", [*(name for pair in mnist.FILES for name in pair), *LETTER_FILES])
def test_idx_files_are_found_by_the_names_that_kaggle_gives_them(tmp_path, name, ending):
    dotted = tmp_path / f"{name.replace('-idx', '.idx')}{ending}"
    assert idx_file(tmp_path, name) is None and dotted.name != f"{name}{ending}"
    (tmp_path / f"{name}{ending}").mkdir()  # as Kaggle's archive has beside them
    dotted.write_bytes(b"")
    assert idx_file(tmp_path, name) == dotted


# what stays


SPLITS = {  # limits, and a digest of data, labels and order, from before readers had modules of their own
    "mnist5k": (1000, 100, "e3d77ca8c3158c27753068a397fee80d9bdc8640bafa1fb48f053ec0f4b4a677"),
    "digits": (1000, 100, "0995fa20433696dd7687fb4fd23ad09aeb8078f142d3de20312fd2540326feeb"),
    "mnist": (15, 12, "07ddb1d0f784b6c11c570b99b382ca2b9c09d193cde027659ac8b11a3fe0ea29"),
}


@pytest.mark.parametrize("name", SPLITS)
def test_bytes_order_and_draws_of_a_split_stay(tmp_path, name):
    write_idx_folder(tmp_path)  # which mnist alone reads
    train_limit, test_limit, expected = SPLITS[name]
    splits = load_splits(name, tmp_path, generator_for(0, "split"), train_limit=train_limit, test_limit=test_limit)
    digest = hashlib.sha256(splits.checksum.encode())
    for part in (splits.train, splits.test):
        digest.update(part.images.numpy().tobytes() + part.labels.numpy().tobytes())
    assert digest.hexdigest() == expected


def test_every_data_set_says_where_it_comes_from():
    assert all(source.origin and source.license for source in DATASETS.values())
