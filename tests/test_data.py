"""The data: exact splits, exact round trips, and every kind of bad file refused in one line."""

import csv
import hashlib
import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets.utils
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from diffusion import data
from diffusion.data import (
    Dataset,
    classes_by_share,
    classes_in_turn,
    examples,
    load_split,
    moments,
    save_sheet,
    save_split,
)
from diffusion.randomness import generator_for
from diffusion.sources import mnist
from diffusion.sources.image_file import read_image
from diffusion.sources.splits import load_splits, stratified
from stages import prepare

NOWHERE = Path("no-such-folder")


def split_of(name, root=NOWHERE, seed=0, **options):
    return load_splits(name, root, generator_for(seed, "split"), **options)


def rows(dataset):
    return {image.numpy().tobytes() for image in dataset.images}


def assert_one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(str(part) in text for part in parts), text


@pytest.fixture(scope="module")
def mnist5k():
    return split_of("mnist5k")


@pytest.fixture(scope="module")
def toy():
    labels = torch.arange(30) % 3
    images = torch.arange(30 * 4, dtype=torch.uint8).view(30, 1, 2, 2)
    return Dataset(images, labels, ("a", "b", "c"))


def test_mnist5k_is_split_in_exact_strata(mnist5k):
    assert mnist5k.train.labels.bincount().tolist() == [400] * 10
    assert mnist5k.test.labels.bincount().tolist() == [100] * 10
    assert mnist5k.train.images.shape == (4000, 1, 28, 28) and mnist5k.train.images.dtype == torch.uint8
    mean, std = moments(mnist5k.train.images)
    assert abs(mean + 0.739) < 0.01 and abs(std - 0.616) < 0.01  # of MNIST whole


def test_no_image_is_in_both_splits(mnist5k):
    assert len(rows(mnist5k.train)) == 4000 and len(rows(mnist5k.test)) == 1000
    assert not rows(mnist5k.train) & rows(mnist5k.test)


def test_labels_stay_with_their_images():
    """A split that shuffles images and labels apart trains a model of nothing."""
    from sklearn.datasets import load_digits

    source = load_digits()
    label_of = {
        (image * 255 / 16).round().astype(np.uint8).tobytes(): label
        for image, label in zip(source.images, source.target, strict=True)
    }
    splits = split_of("digits")
    for part in (splits.train, splits.test):
        assert all(label_of[i.numpy().tobytes()] == k for i, k in zip(part.images, part.labels, strict=True))


def test_the_split_is_a_function_of_the_seed():
    first, again, other = split_of("digits"), split_of("digits"), split_of("digits", seed=1)
    assert torch.equal(first.train.images, again.train.images) and torch.equal(first.test.labels, again.test.labels)
    assert rows(first.test) != rows(other.test)
    assert first.checksum == other.checksum  # the source is the same


def test_digits_use_the_whole_range():
    splits = split_of("digits")
    assert len(splits.train.images) == 1438 and len(splits.test.images) == 359
    assert splits.train.images.shape[1:] == (1, 8, 8)
    values = splits.train.images.unique().tolist()
    assert values[0] == 0 and values[-1] == 255 and len(values) == 17


def test_a_limit_is_a_stratified_prefix_and_leaves_the_other_split_alone():
    whole, limited = split_of("digits"), split_of("digits", train_limit=100, test_limit=30)
    assert torch.equal(limited.train.images, whole.train.images[:100])
    assert torch.equal(limited.test.images, whole.test.images[:30])
    assert limited.train.labels.bincount().tolist() == [10] * 10
    assert limited.test.labels.bincount().tolist() == [3] * 10
    assert len(split_of("digits", train_limit=10**6).train.images) == 1438


def test_a_limit_below_the_number_of_classes_is_refused():
    with pytest.raises(ValueError) as error:
        split_of("digits", test_limit=9)
    assert_one_line(error, "data.test_limit", 9, "10 classes")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_prefix_is_stratified(counts, seed):
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    order = stratified(labels, generator_for(seed, "split"))
    assert sorted(order.tolist()) == list(range(len(labels)))
    for length in range(1, len(labels) + 1):
        found = labels[order[:length]].bincount(minlength=len(counts))
        share = torch.tensor(counts) * length / len(labels)
        assert (found - share).abs().max() < len(counts)
        if length >= len(counts):
            assert found.min() >= 1


def test_all_256_values_survive_the_round_trip():
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(data.to_uint8(data.to_float(values)), values)
    assert data.to_float(values)[[0, 255]].tolist() == [-1, 1]


def test_to_uint8_clips_instead_of_wrapping():
    assert data.to_uint8(torch.tensor([-1.5, -1.0, 0.001, 1.0, 7.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_no_image(value):
    """It would become black or white, and every figure of the sample would be one of a picture nobody made."""
    images = torch.zeros(5, 1, 4, 4)
    images[1, 0, 2, 3] = images[4, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"images: 2 of 5 hold NaN or infinity \(allowed: finite values\)"):
        data.to_uint8(images)


def test_moments_are_those_of_the_floats(mnist5k):
    floats = data.to_float(mnist5k.test.images).double()
    mean, std = moments(mnist5k.test.images)
    assert abs(mean - floats.mean()) < 1e-6 and abs(std - floats.std(correction=0)) < 1e-6


def test_a_split_comes_back_from_its_file(tmp_path, toy):
    save_split(tmp_path / "a.safetensors", toy, {"dataset": "toy"})
    back = load_split(tmp_path / "a.safetensors")
    assert torch.equal(back.images, toy.images) and torch.equal(back.labels, toy.labels)
    assert back.class_names == toy.class_names


def test_a_truncated_split_is_refused(tmp_path, toy):
    path = tmp_path / "a.safetensors"
    save_split(path, toy, {})
    whole = path.read_bytes()
    for length in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError) as error:
            load_split(path)
        assert_one_line(error, path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was executed')",))


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), b"\x89PNG\r\n\x1a\n" * 9, b"{}", b"\xff" * 64])
def test_a_foreign_split_is_refused_and_no_pickle_is_loaded(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_split(path)
    assert_one_line(error, path)


@pytest.mark.parametrize(
    "tensors, names",
    [
        ({"images": torch.zeros(2, 1, 4, 4).byte()}, ["a"]),
        ({"labels": torch.zeros(2).long()}, ["a"]),
        ({"images": torch.zeros(2, 1, 4, 4), "labels": torch.zeros(2).long()}, ["a"]),
        ({"images": torch.zeros(2, 4, 4).byte(), "labels": torch.zeros(2).long()}, ["a"]),
        ({"images": torch.zeros(0, 1, 4, 4).byte(), "labels": torch.zeros(0).long()}, ["a"]),
        ({"images": torch.zeros(2, 1, 4, 4).byte(), "labels": torch.zeros(3).long()}, ["a"]),
        ({"images": torch.zeros(2, 1, 4, 4).byte(), "labels": torch.tensor([0, 1])}, ["a"]),
        ({"images": torch.zeros(2, 1, 4, 4).byte(), "labels": torch.tensor([0, -1])}, ["a"]),
        ({"images": torch.zeros(2, 1, 4, 4).byte(), "labels": torch.zeros(2).long()}, "a"),
        ({"images": torch.zeros(2, 1, 4, 4).byte(), "labels": torch.zeros(2).long()}, None),
    ],
)
def test_a_safetensors_file_of_something_else_is_refused(tmp_path, tensors, names):
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"description": json.dumps({"class_names": names})})
    with pytest.raises(ValueError) as error:
        load_split(path)
    assert_one_line(error, path)


def test_a_sheet_is_bare_nearest_and_the_same_bytes_each_time(tmp_path, toy):
    save_sheet(tmp_path / "a.png", toy.images[:5], columns=3, scale=2, gap=1)
    save_sheet(tmp_path / "b.png", toy.images[:5], columns=3, scale=2, gap=1)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L" and not image.info
        sheet = np.array(image)
    assert sheet.shape == (9, 14)
    assert (sheet[4] == 128).all() and (sheet[:, 4] == 128).all() and (sheet[5:, 10:] == 128).all()
    fifth = toy.images[4, 0].numpy()
    assert (sheet[5:9, 5:9] == fifth.repeat(2, 0).repeat(2, 1)).all()


def test_a_sheet_of_colours_keeps_its_channels(tmp_path):
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    save_sheet(tmp_path / "a.png", image, columns=16)
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.mode == "RGB" and sheet.size == (2, 2) and sheet.getpixel((1, 1)) == (10, 20, 30)


def test_examples_are_a_row_a_class(toy):
    tiles = examples(Dataset(toy.images[:8], toy.labels[:8], toy.class_names), 3)
    assert torch.equal(tiles[3:6], toy.images[[1, 4, 7]])
    assert torch.equal(tiles[6:8], toy.images[[2, 5]]) and (tiles[8] == 128).all()


def write_idx(path, array, kind=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_idx_set(root, folder="MNIST"):
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for (images, labels), number in zip(mnist.FILES, (60, 20), strict=True):
        write_idx(raw / images, draw.integers(0, 256, (number, 5, 4)))
        write_idx(raw / labels, np.arange(number) % 10)
    return raw


@pytest.mark.parametrize(
    "name, folder, last",
    [("mnist", "MNIST", "9"), ("fashion_mnist", "FashionMNIST", "Ankle boot"), ("kmnist", "KMNIST", "wo")],
)
def test_idx_files_keep_their_own_split(tmp_path, name, folder, last):
    raw = write_idx_set(tmp_path, folder)
    splits = split_of(name, tmp_path)
    assert splits.train.images.shape == (60, 1, 5, 4) and splits.train.class_names[9] == last
    pixels = (raw / mnist.FILES[1][0]).read_bytes()[16:]
    assert rows(splits.test) == {pixels[k : k + 20] for k in range(0, 400, 20)}
    assert split_of(name, tmp_path, train_limit=20).train.labels.bincount().tolist() == [2] * 10


def spoiled_idx():
    small = np.zeros((20, 5, 4))
    return {
        "empty": ("t10k-images-idx3-ubyte", lambda path: path.write_bytes(b"")),
        "truncated images": ("train-images-idx3-ubyte", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        "truncated labels": ("train-labels-idx1-ubyte", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        "cut header": ("train-labels-idx1-ubyte", lambda path: path.write_bytes(path.read_bytes()[:6])),
        "too long": ("train-images-idx3-ubyte", lambda path: path.write_bytes(path.read_bytes() + b"x")),
        "foreign": ("train-images-idx3-ubyte", lambda path: path.write_bytes(pickle.dumps(Bomb()) * 9)),
        "still packed": ("train-images-idx3-ubyte", lambda path: path.write_bytes(b"\x1f\x8b\x08\x00" * 9)),
        "no type": ("train-images-idx3-ubyte", lambda path: write_idx(path, small, kind=10)),
        "other type": ("train-images-idx3-ubyte", lambda path: write_idx(path, small, kind=9)),
        "other shape": ("train-images-idx3-ubyte", lambda path: write_idx(path, small[0])),
        "a label of 10": ("t10k-labels-idx1-ubyte", lambda path: write_idx(path, np.arange(20) % 11)),
        "fewer labels": ("t10k-labels-idx1-ubyte", lambda path: write_idx(path, np.arange(19) % 10)),
    }


@pytest.mark.parametrize("fault", spoiled_idx())
def test_spoiled_idx_files_are_named_in_one_line(tmp_path, fault):
    name, spoil = spoiled_idx()[fault]
    path = write_idx_set(tmp_path) / name
    spoil(path)
    with pytest.raises(ValueError) as error:
        split_of("mnist", tmp_path)
    assert_one_line(error, path)


def test_training_and_test_images_of_different_size_are_refused(tmp_path):
    raw = write_idx_set(tmp_path)
    write_idx(raw / "t10k-images-idx3-ubyte", np.zeros((20, 4, 4)))
    with pytest.raises(ValueError) as error:
        split_of("mnist", tmp_path)
    assert_one_line(error, "data.root", raw)


def test_torchvisions_old_pickles_are_never_loaded(tmp_path):
    """torchvision prefers processed/*.pt, which are pickles, to the raw files."""
    write_idx_set(tmp_path)
    (tmp_path / "MNIST/processed").mkdir()
    for name in ("training.pt", "test.pt"):
        (tmp_path / "MNIST/processed" / name).write_bytes(pickle.dumps(Bomb()))
    assert len(split_of("mnist", tmp_path).train.images) == 60


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
@pytest.mark.parametrize(
    "fault", [URLError("no route to host"), TimeoutError("timed out"), ConnectionResetError("reset")]
)
def test_a_missing_network_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, name, fault):
    def refuse(*_, **__):
        raise fault

    monkeypatch.setattr(torchvision.datasets.utils.urllib.request, "urlopen", refuse)
    root = tmp_path / "not" / "there"
    with pytest.raises(ValueError) as error:
        split_of(name, root)
    assert_one_line(error, "data.root", root, str(fault.args[0]), "mnist5k")
    assert "://" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off_leaves_what_was_there(tmp_path, monkeypatch):
    raw = write_idx_set(tmp_path)
    (raw / "t10k-labels-idx1-ubyte").unlink()
    before = {path.name: path.read_bytes() for path in raw.iterdir()}

    def half(url, filename, *_, **__):
        Path(filename).write_bytes(b"half")
        raise URLError("connection lost")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", half)
    with pytest.raises(ValueError) as error:
        split_of("mnist", tmp_path)
    assert_one_line(error, "data.root", "connection lost")
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]


def test_a_download_arrives_whole(tmp_path, monkeypatch):
    def download(root, download):
        assert download
        write_idx_set(Path(root))

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    assert len(split_of("mnist", tmp_path / "new").train.images) == 60
    assert sorted(path.name for path in (tmp_path / "new/MNIST/raw").iterdir()) == sorted(sum(mnist.FILES, ()))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.fixture
def pets(tmp_path):
    """Ten images of each of two classes, in odd sizes, formats and modes."""
    kinds = [("png", "L"), ("jpg", "RGB"), ("bmp", "RGB"), ("png", "RGBA"), ("png", "P"), ("png", "1"), ("png", "LA")]
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for k in range(10):
            suffix, mode = kinds[k % len(kinds)]
            Image.new("L", (20 + k, 31), 40 * label + k).convert(mode).save(tmp_path / name / f"{k}.{suffix}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat/.hidden").write_text("passed over")
    (tmp_path / "notes.txt").write_text("beside the classes")
    return tmp_path


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_is_resized_and_split(pets, channels):
    splits = split_of("folder", pets, image_size=12, channels=channels)
    assert splits.train.images.shape == (16, channels, 12, 12) and splits.test.images.shape == (4, channels, 12, 12)
    assert splits.train.class_names == ("cat", "dog")
    assert splits.train.labels.bincount().tolist() == [8, 8] and splits.test.labels.bincount().tolist() == [2, 2]


def test_an_image_is_cropped_to_its_centre_and_antialiased(tmp_path):
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, :4], wide[:, 12:] = (255, 0, 0), (0, 0, 255)
    wide[::2, 4:12] = (0, 200, 0)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    image = read_image(tmp_path / "wide.png", 2, 3)
    assert image.shape == (3, 2, 2)
    assert (image[0] == 0).all() and (image[2] == 0).all()
    assert ((image[1].int() - 100).abs() <= 30).all()  # the mean of the stripes, not one of them


def test_an_image_of_the_right_size_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 9, 3).permute(1, 2, 0).numpy() == pixels).all()


def test_transparency_becomes_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 4, 1) == 255).all()


def spoil_folder():
    def other_bytes(content):
        return lambda path: path.write_bytes(content)

    def link(path):
        target = path.with_name("6.png")
        path.unlink()
        path.symlink_to(target)

    def subfolder(path):
        path.unlink()
        path.mkdir()

    return {
        "empty": other_bytes(b""),
        "text": other_bytes(b"not an image"),
        "a pickle": other_bytes(pickle.dumps(Bomb())),
        "other format": lambda path: Image.new("L", (9, 9)).save(path, format="PCX"),
        "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
        "a link": link,
        "a folder": subfolder,
    }


@pytest.mark.parametrize("fault", spoil_folder())
def test_a_bad_image_is_named_in_one_line(pets, fault):
    path = pets / "dog/0.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30), dtype=np.uint8)).save(path)
    spoil_folder()[fault](path)
    with pytest.raises(ValueError) as error:
        split_of("folder", pets, image_size=8)
    assert_one_line(error, path, "a link or a folder" if fault in ("a link", "a folder") else "not an image")


@pytest.mark.parametrize("limit", [500, 300])  # Pillow warns over its limit, and raises over twice its limit
def test_a_huge_image_is_refused_before_it_is_decoded(pets, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError) as error:
        split_of("folder", pets, image_size=8)
    assert_one_line(error, pets / "cat/0.png", "pixels")


def test_folders_without_classes_or_images_are_refused(tmp_path):
    for root, parts in ((tmp_path / "none", ["data.root", "none"]), (tmp_path, ["data.root", "0 class folders"])):
        with pytest.raises(ValueError) as error:
            split_of("folder", root)
        assert_one_line(error, *parts)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError) as error:
        split_of("folder", tmp_path)
    assert_one_line(error, tmp_path / "cat")


def test_a_linked_class_folder_is_refused(pets):
    (pets / "wolf").symlink_to(pets / "dog")
    with pytest.raises(ValueError) as error:
        split_of("folder", pets, image_size=8)
    assert_one_line(error, pets / "wolf")


def test_small_classes_are_in_both_splits(tmp_path):
    for name, number in (("a", 2), ("b", 2), ("c", 30)):
        (tmp_path / name).mkdir()
        for k in range(number):
            Image.new("L", (8, 8), k).save(tmp_path / name / f"{k:02}.png")
    splits = split_of("folder", tmp_path, image_size=8)
    assert splits.train.labels.bincount().min() >= 1 and splits.test.labels.bincount(minlength=3).min() >= 1


def test_an_unknown_data_set_is_refused_with_the_choices():
    with pytest.raises(ValueError) as error:
        split_of("cifar")
    assert_one_line(
        error,
        "data.dataset",
        "cifar",
        "mnist5k, mnist, fashion_mnist, kmnist, emnist_letters, cifar10, svhn, digits, folder",
    )


def run_prepare(folder, **options):
    section = {"dataset": "digits", "root": "x", "image_size": 28, "channels": 1, "train_limit": 0, "test_limit": 0}
    params = SimpleNamespace(seed=0, data=SimpleNamespace(**(section | options)))
    prepare.main(params, out=folder / "out", results=folder / "results")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def test_prepare_writes_the_splits_and_the_card(tmp_path):
    files = run_prepare(tmp_path / "a")
    assert files == run_prepare(tmp_path / "b")  # the same bytes each time
    assert sorted(files) == [
        "out/test.safetensors",
        "out/train.safetensors",
        "results/card.json",
        "results/counts.csv",
        "results/examples.png",
    ]
    train = load_split(tmp_path / "a/out/train.safetensors")
    card = json.loads((tmp_path / "a/results/card.json").read_text())
    assert card["image_shape"] == [1, 8, 8] and card["splits"]["train"]["n"] == len(train.images) == 1438
    counts = list(csv.DictReader((tmp_path / "a/results/counts.csv").open()))
    assert [int(row["train"]) for row in counts] == train.labels.bincount().tolist()
    assert b"\r" not in (tmp_path / "a/results/counts.csv").read_bytes()


def test_data_is_imported_without_the_packages_of_its_sources():
    heavy = ["mlxtend", "sklearn", "torchvision", "PIL", "matplotlib", "pandas"]
    code = f"import sys, diffusion.data; print([name for name in {heavy} if name in sys.modules])"
    source = str(Path(data.__file__).parents[1])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": source})
    assert result.stdout.strip() == "[]", result.stderr


def test_classes_are_asked_for_by_their_shares():
    """Every class is among the first K, equal shares are taken in turn, and no class is ever far from its share."""
    assert torch.equal(classes_by_share(95, torch.full((10,), 400)), classes_in_turn(95, 10))
    counts = torch.tensor([85, 380, 270, 12])
    labels = classes_by_share(2000, counts)
    assert labels[:4].tolist() == [0, 1, 2, 3]
    for number in (200, 1000, 2000):
        found = labels[:number].bincount(minlength=4)
        assert (found - number * counts / counts.sum()).abs().max() < 1.5
