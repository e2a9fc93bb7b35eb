"""A folder of images: its classes and their names, its splits, what is passed over, and how what is wrong is told."""

import threading
import unicodedata
import warnings
from pathlib import Path

import pytest
import torch
from fuzz import image_of
from PIL import Image

from diffusion.data import load_split
from diffusion.latents.captions import Vocabulary, class_words
from diffusion.latents.properties import KINDS
from diffusion.randomness import generator_for
from diffusion.sources import folder
from diffusion.sources.folder import read_folder
from diffusion.sources.splits import load_splits
from stages import prepare
from stages.params.params import Params

ROOT = Path(__file__).resolve().parents[1]


def write(root, names, number=4, grey=0):
    """Images of their own grey, `number` a class."""
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(number):
            Image.new("L", (8, 8), grey + 10 * k + index).save(root / name / f"{index}.png")
    return root


def read(root):
    return read_folder(root, 8, 1, iter)


def refusal(root):
    """The one line that a folder is refused with."""
    with pytest.raises(ValueError) as caught:
        read(root)
    assert str(caught.value).isprintable()
    return str(caught.value)


# names of classes


def test_names_of_classes_are_composed_and_found_as_they_are_typed(tmp_path):
    """macOS writes decomposed accents into archives."""
    decomposed = unicodedata.normalize("NFD", "éléphant")
    (part,), _ = read(write(tmp_path, [decomposed, "Zèbre", "हिन्दी", "a\u3000b", "क्\u200dष", "猫"]))
    assert part.class_names == ("Zèbre", "a\u3000b", "éléphant", "क्\u200dष", "हिन्दी", "猫")
    properties = KINDS["colour"].properties
    vocabulary = Vocabulary.of(class_words(part.class_names, properties), properties)
    for typed in ("éléphant", decomposed, decomposed.upper(), "हिन्दी", "क्\u200dष", "猫"):
        assert vocabulary.numbers(f"a small {typed}!")[2] == vocabulary.numbers(typed)[0]
    assert class_words(part.class_names, properties) == ("zèbre", "a-b", "éléphant", "क्\u200dष", "हिन्दी", "猫")


def test_two_folders_of_one_name_are_refused_by_both(tmp_path):
    write(tmp_path, ["é", "e\u0301", "b"])
    line = refusal(tmp_path)
    assert r"'\xe9'" in line and r"'e\u0301'" in line and "one name" in line
    write(tmp_path / "spaces", ["cat", "cat\u00a0"])
    assert "'cat'" in refusal(tmp_path / "spaces")


def test_capitals_are_other_names(tmp_path):
    (part,), _ = read(write(tmp_path, ["A", "a"]))
    assert part.class_names == ("A", "a")


def test_the_order_of_files_does_not_depend_on_how_their_accents_are_held(tmp_path):
    names = ["e\u0301.png", "z.png", "f.png"]  # decomposed, é stands before f and z, composed behind them
    for form in ("NFC", "NFD"):
        for label in ("a", "b"):
            (tmp_path / form / label).mkdir(parents=True)
            for k, name in enumerate(names):
                Image.new("L", (8, 8), k).save(tmp_path / form / label / unicodedata.normalize(form, name))
    composed, decomposed = (read(tmp_path / form).parts[0] for form in ("NFC", "NFD"))
    assert torch.equal(composed.images, decomposed.images)


def run_prepare(root, out):
    params = Params.load(ROOT).changed(["data.dataset=folder", f"data.root={root}", "data.image_size=8"])
    prepare.main(params, out=out / "out", results=out / "results")
    return load_split(out / "out/train.safetensors")


def test_a_class_of_any_name_comes_through_prepare(tmp_path):
    names = ('a, "b"', "a\u202fb", "क्\u200dष", "😀")
    found = run_prepare(write(tmp_path / "data", names, number=10), tmp_path)
    assert found.class_names == tuple(sorted(names))


# what systems leave in folders


def test_litter_is_passed_over_and_counted(tmp_path):
    write(tmp_path, ["cat", "dog"])
    whole = read(tmp_path)
    for name in (
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "cat/Thumbs.db",
        "dog/Desktop.ini",
        "dog/._0.png",
        "cat/Icon\r",
    ):
        (tmp_path / name).write_bytes(b"left by a system")
    for name in ("__MACOSX", "__MACOSX/cat", ".git", "@eaDir", "cat/@eaDir", "$RECYCLE.BIN"):
        (tmp_path / name).mkdir()
    found = read(tmp_path)
    assert torch.equal(found.parts[0].images, whole.parts[0].images)
    assert (whole.skipped, found.skipped) == (0, 12)


# splits of one's own


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "Val"), ("training", "validation")])
def test_train_and_test_folders_are_the_split(tmp_path, train, test):
    write(tmp_path / train, ["cat", "dog"], number=3)
    write(tmp_path / test, ["cat", "dog"], number=2, grey=100)
    splits = load_splits("folder", tmp_path, generator_for(0, "split"), 8)
    assert splits.train.class_names == splits.test.class_names == ("cat", "dog")
    assert sorted(splits.train.images[:, 0, 0, 0].tolist()) == [0, 1, 2, 10, 11, 12]
    assert sorted(splits.test.images[:, 0, 0, 0].tolist()) == [100, 101, 110, 111]


def test_a_validation_folder_beside_a_test_folder_is_left_out_and_counted(tmp_path):
    for name, number in (("train", 3), ("val", 5), ("test", 2)):
        write(tmp_path / name, ["cat", "dog"], number)
    (tmp_path / "labels.csv").write_text("")
    parts, skipped = read(tmp_path)
    assert [len(part.labels) for part in parts] == [6, 4] and skipped == 11


def test_train_and_test_with_other_classes_are_refused(tmp_path):
    write(tmp_path / "train", ["cat", "dog", "cow"])
    write(tmp_path / "test", ["cat", "dog", "eel"])
    assert "only one of train and test: cow, eel (allowed: the same classes in both)" in refusal(tmp_path)


def test_a_test_folder_without_classes_is_named(tmp_path):
    write(tmp_path / "train", ["cat", "dog"])
    (tmp_path / "test").mkdir()
    (tmp_path / "test/1.png").write_bytes(image_of("PNG", "L"))
    line = refusal(tmp_path)
    assert line.startswith("data.root: ") and str(tmp_path / "test") in line and "0 class folders" in line


def test_a_train_folder_alone_is_told_how_to_go_on(tmp_path):
    write(tmp_path / "train", ["cat", "dog"])
    line = refusal(tmp_path)
    assert "no folder test or val" in line and f"{str(tmp_path / 'train')!r}" in line


def test_train_may_be_a_class(tmp_path):
    """As in CIFAR-100, among vehicles."""
    (part,), _ = read(write(tmp_path, ["train", "test"]))
    assert part.class_names == ("test", "train")


# bad files


def test_all_bad_files_are_told_at_once(tmp_path):
    write(tmp_path, ["cat", "dog"], number=20)
    for k in (3, 5):
        (tmp_path / "cat" / f"{k}.png").write_text("no image")
    line = refusal(tmp_path)
    assert line.startswith("data.root: 2 of 40 images cannot be read: ")
    assert str(tmp_path / "cat/3.png") in line and str(tmp_path / "cat/5.png") in line and "more" not in line
    for k in range(20):
        (tmp_path / "dog" / f"{k}.png").write_text("no image")
    line = refusal(tmp_path)
    assert (
        line.startswith("data.root: 22 of 40") and line.count("not an image") == 10 and line.endswith("; and 12 more")
    )


def test_all_empty_classes_are_told_at_once(tmp_path):
    write(tmp_path, ["cat", "dog"])
    for k in range(12):
        (tmp_path / f"nothing{k:02}").mkdir()
    line = refusal(tmp_path)
    assert line.count("/nothing0") == 10 and "nothing09, and 2 more: a link, or fewer than 2 images" in line


# lanes


def test_images_do_not_depend_on_the_number_of_lanes(tmp_path, threads):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for k in range(30):
            side = 10 + 20 * (k % 7)
            image = Image.linear_gradient("L").resize((side, side + k)).point(lambda value, k=k: value ^ k)
            image.save(tmp_path / label / f"{k:02}.jpg")
    found = read_folder(tmp_path, 16, 3, iter).parts[0]
    torch.set_num_threads(1)
    assert torch.equal(found.images, read_folder(tmp_path, 16, 3, iter).parts[0].images)
    assert len(found.images.flatten(1).unique(dim=0)) == 60 // 2  # both classes have the same images


def test_lanes_decode_at_the_same_time(tmp_path, monkeypatch):
    """Every image waits until another lane has one: it would wait for ever if they took turns."""
    together = threading.Barrier(2, timeout=60)

    def read_image(*_):
        together.wait()
        return torch.zeros(1, 8, 8, dtype=torch.uint8)

    monkeypatch.setattr(folder, "read_image", read_image)
    monkeypatch.setattr(folder, "CHUNK", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert len(read(write(tmp_path, ["cat", "dog"])).parts[0].labels) == 8
    torch.set_num_threads(before)


def test_warnings_are_as_they_were_after_reading(tmp_path):
    before = list(warnings.filters)
    read(write(tmp_path, ["cat", "dog"]))
    assert warnings.filters == before
