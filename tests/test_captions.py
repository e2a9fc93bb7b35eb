"""Strokes are measured right where they are drawn by hand; captions are deterministic and hold out what they say."""

from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest
import torch

from diffusion.data import Dataset, to_uint8
from diffusion.latents.captions import (
    WORDINGS,
    Captions,
    Combination,
    Vocabulary,
    article,
    belongs,
    caption,
    choose_held_out,
    class_word,
    class_words,
    draw_captions,
    random_caption,
)
from diffusion.latents.grades import grade, terciles
from diffusion.latents.properties import KINDS
from diffusion.latents.strokes import measure
from stages.captions import caption_split
from stages.params.params import LatentParams

ROOT = Path(__file__).resolve().parents[1]
TEN = tuple("0123456789")
STROKES = KINDS["strokes"].properties
PROPERTIES = tuple(STROKES)
SIZE, FINE = 28, 8  # pixels, and points per pixel of what is drawn


def drawn(inside):
    """The image (1, 1, 28, 28) of a shape, anti-aliased: inside(x, y), x to the right, y upwards from the centre."""
    points = (torch.arange(SIZE * FINE) + 0.5) / FINE - SIZE / 2
    x, y = points[None, :], -points[:, None]
    ink = inside(x, y).float().view(SIZE, FINE, SIZE, FINE).mean(dim=(1, 3))
    return (2 * ink - 1)[None, None]


def stroke(thickness, slope=0.0, length=20):
    """A stroke of this thickness across, rising `length` pixels, moving `slope` to the right per pixel."""
    across = (1 + slope**2) ** 0.5
    return drawn(lambda x, y: ((x - slope * y).abs() * 2 < thickness * across) & (y.abs() * 2 < length))


def ring(radius_x, thickness, shear=0.0, radius_y=9.0):
    """A ring that is sheared to the right by `shear`."""

    def inside(x, y):
        x = x - shear * y
        outer, inner = (
            (x / (radius_x + grow)) ** 2 + (y / (radius_y + grow)) ** 2 for grow in (thickness / 2, -thickness / 2)
        )
        return (outer < 1) & (inner > 1)

    return drawn(inside)


def measures(image):
    return dict(zip(PROPERTIES, measure(image)[0].tolist(), strict=True))


@pytest.mark.parametrize("thickness", [2.0, 3.0, 4.5])
def test_the_thickness_of_a_stroke_and_of_a_ring(thickness):
    """Twice the area over the outline is exact for a ring; a stroke has two ends, which cost w / (w + length)."""
    ends = 20 / (20 + thickness)
    assert measures(stroke(thickness))["thickness"] == pytest.approx(ends * thickness, rel=0.03)
    assert measures(stroke(thickness, slope=0.5))["thickness"] == pytest.approx(ends * thickness, rel=0.12)
    assert measures(ring(8.0, thickness))["thickness"] == pytest.approx(thickness, rel=0.12)


@pytest.mark.parametrize("slope", [-0.6, -0.25, 0.0, 0.3, 0.6])
def test_the_slant_of_a_stroke_is_its_slope_and_positive_to_the_right(slope):
    assert measures(stroke(2.0, slope))["slant"] == pytest.approx(slope, abs=0.02)
    assert measures(ring(6.0, 2.0, slope))["slant"] == pytest.approx(slope, abs=0.02)


def test_the_width_is_that_of_the_upright_shape():
    box = drawn(lambda x, y: (x.abs() < 4) & (y.abs() < 9))
    assert measures(box)["width"] == pytest.approx(8, abs=1e-6)
    upright, slanted = (measures(ring(6.0, 2.0, shear))["width"] for shear in (0.0, 0.4))
    assert slanted == pytest.approx(upright, rel=0.02)
    assert measures(ring(8.0, 2.0))["width"] > 1.25 * upright


def test_measures_do_not_depend_on_place_or_on_what_else_is_measured_and_take_samples():
    image = ring(6.0, 2.0, 0.3)
    moved = image.roll((2, -1), (2, 3))
    assert (measure(image) - measure(moved)).abs().max() < 1e-9
    both = torch.cat([stroke(3.0), image])
    assert (measure(both)[1:] - measure(image)).abs().max() < 1e-9
    assert (measure(to_uint8(image)) - measure(image)).abs().max() < 0.02
    for empty in (torch.full((1, 3, 8, 8), -1.0), torch.full((1, 1, 8, 8), 9.0)):
        assert measure(empty).isfinite().all()


def test_terciles_part_every_class_into_thirds():
    values = torch.cat([torch.arange(30.0), 100 + torch.arange(60.0)])[:, None].expand(90, 3)
    labels = torch.cat([torch.zeros(30), torch.full((60,), 2)]).long()
    bounds = terciles(values, labels, 3)
    grades = grade(values, labels, bounds)
    assert all((grades[labels == 0] == grade).sum(0).tolist() == [10] * 3 for grade in range(3))
    assert all((grades[labels == 2] == grade).sum(0).tolist() == [20] * 3 for grade in range(3))
    assert bounds[1].abs().max() == 0 and grade(values[:1], labels[:1], bounds).tolist() == [[0, 0, 0]]


def test_captions_read_as_english():
    assert caption(STROKES, "seven", (2, 2, 1)) == "a thick regular seven slanted to the right"
    assert caption(STROKES, "eight", (0, 1, 2), wording=1) == "an upright wide eight with thin strokes"
    assert caption(STROKES, "three", (0, 1, 2), without=["slant", "width"]) == "a thin three"
    assert caption(STROKES, "three", (0, 1, 2), without=["a", *PROPERTIES]) == "three"
    assert [article(word) for word in ("eight", "one", "upright", "zero")] == ["an", "a", "an", "a"]
    names = ["7", "Ankle boot", "T-shirt/top", "10"]
    assert list(map(class_word, names)) == ["seven", "ankle-boot", "t-shirt-top", "10"]


def test_classes_of_any_script_have_words_of_their_own():
    """A class called 12 was looked for among the ten digits' names."""
    assert class_words(("12", "hot_dog", "Ampère", "猫"), STROKES) == ("12", "hot-dog", "ampère", "猫")
    assert len(Vocabulary.of(class_words(("Ampère", "猫"), STROKES), STROKES).numbers("an Ampère 猫")) == 3
    for names in (("cat", "?!"), ("Cat", "cat"), ("ankle boot", "ankle_boot")):
        with pytest.raises(ValueError, match="^captions: class '.*' is '.*' in words"):
            class_words(names, STROKES)


def test_accents_are_part_of_a_word_however_they_are_typed():
    """Decomposed, as macOS has them in names of folders, they parted e-le-phant."""
    composed, decomposed = "éléphant", "e\u0301le\u0301phant"
    assert class_word(composed) == class_word(decomposed) == class_word(decomposed.upper()) == composed
    vocabulary = Vocabulary.of((composed, "हिन्दी"), STROKES)
    assert vocabulary.numbers(f"a {decomposed}") == vocabulary.numbers(f"a {composed}")
    assert len(vocabulary.numbers("a left\u2011leaning हिन्दी")) == 3
    with pytest.raises(ValueError, match="near it: éléphant"):
        vocabulary.numbers("elephant")


def test_a_full_caption_tells_all_grades_apart_in_every_wording():
    for wording in range(len(WORDINGS)):
        texts = {caption(STROKES, "two", grades, wording) for grades in product(range(3), repeat=3)}
        assert len(texts) == 27


def test_captions_are_a_function_of_seed_and_index():
    texts = [draw_captions(STROKES, "five", (0, 1, 2), index, 4, 0.3, seed=1) for index in range(40)]
    assert draw_captions(STROKES, "five", (0, 1, 2), 33, 4, 0.3, seed=1) == texts[33]
    assert draw_captions(STROKES, "five", (0, 1, 2), 33, 4, 0.3, seed=2) != texts[33]
    words = [set(text.split()) for image in texts for text in image]
    assert all("five" in caption for caption in words)
    assert abs(sum("thin" in caption for caption in words) / len(words) - 0.7) < 0.12
    assert len({text for image in texts for text in image}) > 20
    always = {random_caption(STROKES, "five", (0, 1, 2), 0.0, torch.Generator().manual_seed(k)) for k in range(50)}
    assert always == {caption(STROKES, "five", (0, 1, 2), wording) for wording in range(len(WORDINGS))}


def test_every_word_of_every_caption_is_in_the_vocabulary():
    words = ("zero", "eight", "ankle-boot")
    vocabulary = Vocabulary.of(words, STROKES)
    for word, wording, grades in product(words, range(len(WORDINGS)), product(range(3), repeat=3)):
        text = caption(STROKES, word, grades, wording)
        numbers = vocabulary.numbers(text)
        assert min(numbers) >= 1 and " ".join(vocabulary.words[n - 1] for n in numbers) == text
    assert vocabulary.numbers("A THIN, 8!") == vocabulary.numbers("a thin eight")


def test_a_word_outside_the_vocabulary_is_named_with_near_ones():
    vocabulary = Vocabulary.of(("three", "seven"), STROKES)
    with pytest.raises(ValueError, match="the word 'thinn' is not in the vocabulary .near it: thin"):
        vocabulary.numbers("a thinn three")
    with pytest.raises(ValueError, match="the word 'xyzzy' .*allowed: a, an, drawn"):
        vocabulary.numbers("xyzzy")


def small_captions():
    labels, grades = torch.tensor([0, 0, 1, 1]), torch.tensor([[0, 1, 2], [2, 1, 2], [0, 2, 0], [0, 1, 1]])
    out = (Combination(0, "thickness", 0), Combination(1, "slant", 2))
    texts = ((), ("a thick zero", "zero"), (), ("one",))
    words, bounds = ("zero", "one"), torch.zeros(2, 3, 2)
    return labels, Captions("strokes", words, out, bounds, grades, grades[:1].clone(), texts)


def test_held_out_combinations_are_spread_and_found():
    combinations = choose_held_out(PROPERTIES, 10, 6)
    assert [c.label for c in combinations] == [0, 1, 3, 5, 6, 8]
    assert {(c.name, c.grade) for c in combinations} == {(name, grade) for name in PROPERTIES for grade in (0, 2)}
    with pytest.raises(ValueError, match="captions.held_out: 5 is not possible .*up to 4, one for each class"):
        choose_held_out(PROPERTIES, 4, 5)
    labels, captions = small_captions()
    assert captions.unseen(labels, captions.train_grades).tolist() == [0, -1, 1, -1]
    assert belongs(captions.held_out[1], 1, labels, captions.train_grades).tolist() == [False, False, True, False]


def test_no_image_of_a_held_out_combination_gets_a_caption_and_all_others_do():
    draw = torch.Generator().manual_seed(0)
    data = Dataset(
        torch.randint(0, 256, (200, 1, 8, 8), generator=draw, dtype=torch.uint8), torch.arange(200) % 10, TEN
    )
    params = LatentParams.load(ROOT)
    captions = caption_split(params, "strokes", data, measure(data.images), data)
    unseen = captions.unseen(data.labels, captions.train_grades) >= 0
    assert [len(texts) for texts in captions.texts] == [0 if gone else params.captions.per_image for gone in unseen]
    assert 30 < unseen.sum() < 60  # a third of six classes
    for label, name, of_strokes in captions.held_out:
        of_class = (data.labels == label) & ~unseen
        assert not (captions.train_grades[of_class][:, PROPERTIES.index(name)] == of_strokes).any()


def test_captions_come_back_from_their_files(tmp_path):
    _, captions = small_captions()
    captions.save(tmp_path)
    again = Captions.load(tmp_path, ["0", "1"], train=4, test=1)
    assert again.texts == captions.texts and again.held_out == captions.held_out
    assert torch.equal(again.train_grades, captions.train_grades) and again.vocabulary == captions.vocabulary
    assert (tmp_path / "vocabulary.txt").read_text().split() == list(captions.vocabulary.words)
    (tmp_path / "train.txt").write_text("a zero\n")
    with pytest.raises(ValueError, match="train.txt: 1 lines for 4 images"):
        Captions.load(tmp_path, ["0", "1"])


def test_the_default_runs_captions_keep_every_draw():
    """What the committed results of MNIST were trained on: the same words in the same order."""
    grades = list(product(range(3), repeat=3))
    texts = [
        draw_captions(STROKES, word, grades[index % 27], index, 8, 0.3, seed=0)
        for index, word in enumerate(class_words(TEN, STROKES) * 20)
    ]
    lines = "\n".join(" | ".join(of_image) for of_image in texts)
    assert sha256(lines.encode()).hexdigest()[:16] == "6ca163ef986a7a48"


def test_as_many_combinations_are_held_out_as_there_are_classes_for():
    assert choose_held_out(PROPERTIES, 10, "auto") == choose_held_out(PROPERTIES, 10, 6)
    for few in range(2, 6):
        assert [c.label for c in choose_held_out(PROPERTIES, few, "auto")] == list(range(few))
    with pytest.raises(
        ValueError, match="^captions.held_out: 6 is not possible .*up to 5, one for each class, or auto"
    ):
        choose_held_out(PROPERTIES, 5, 6)


def test_a_class_of_several_words_is_written_as_one_pleases():
    properties = KINDS["colour"].properties
    words = class_words(("Hot dog", "dog", "fire_engine", "gâteau à la crème"), properties)
    assert words == ("hot-dog", "dog", "fire-engine", "gâteau-à-la-crème")
    vocabulary = Vocabulary.of(words, properties)
    together = vocabulary.numbers("a small hot-dog")
    assert vocabulary.numbers("a small hot dog") == vocabulary.numbers("A SMALL, Hot Dog!") == together
    assert len(together) == 3 and len(vocabulary.numbers("a hot-dog dog")) == 3
    assert vocabulary.numbers("a warm gâteau à la crème") == vocabulary.numbers("a warm gâteau-à-la-crème")


def test_classes_that_read_like_captions_are_refused_by_name():
    for names, message in {
        ("Thin", "cat"): "class 'Thin' is 'thin' in words, which captions say of thickness, slant, width .rename",
        ("left", "cat"): "class 'left' is 'left' in words, which captions say of",
        ("boat", "thin boat"): "classes 'thin-boat' and 'boat' cannot be told apart in 'thin boat'",
    }.items():
        with pytest.raises(ValueError, match=f"^captions: {message}"):
            class_words(names, STROKES)
    assert class_words(("Thin", "cat"), KINDS["colour"].properties) == ("thin", "cat")
    assert class_words(("a", "an"), STROKES) == ("a", "an")  # of letters: a caption has its class in any case


def test_images_of_any_kind_get_captions():
    """Colour images of two classes: no strokes are looked for, and what is held out follows their number."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (90, 3, 8, 8), generator=draw, dtype=torch.uint8)
    data = Dataset(images, torch.arange(90) % 2, ("hot dog", "猫"))
    params, values = LatentParams.load(ROOT), KINDS["colour"].measure(images)
    captions = caption_split(params, "colour", data, values, data)
    assert captions.class_words == ("hot-dog", "猫") and [c.name for c in captions.held_out] == ["colour", "size"]
    assert torch.equal(captions.train_grades, captions.test_grades)
    assert torch.equal(captions.measured(images, data.labels), captions.train_grades)
    for texts, unseen in zip(captions.texts, captions.unseen(data.labels, captions.train_grades) >= 0, strict=True):
        assert bool(texts) != unseen and all(captions.vocabulary.numbers(text) for text in texts)
