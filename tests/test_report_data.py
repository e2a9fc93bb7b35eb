"""The pages of images that are no digits: of any number of classes and any names, weakly judged, or degenerate."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from other_data import SHAPES, class_names, degenerate, of_other_data, params_of_other_data
from PIL import Image
from run_reports import PAGES, STUDIES, build_all, edit_csv, edit_json, reports_in
from test_report import Elements, html_of, markdown_of, plain, visible, without_other_studies
from test_report_words import plain as plain_text

from report.caution import MARK, caution
from report.claims import OPEN
from report.latent import claims as latent_claims
from report.page import TITLES, build
from report.spine import claims as spine_claims
from report.spine import data, verdict

HEAVIEST, WIDEST = 10 * 2**20, 2200  # bytes of a page, pixels of a picture
SCRIPTS = [  # names as people write them
    "قط صغير",
    "כלב",
    "猫と犬",
    "ไก่",
    "हाथी",
    "éléphant d’Afrique",
    "Ελέφαντας",
    "a class whose name is much longer than any picture has room for, number one",
    "a class whose name is much longer than any picture has room for, number two",
    "👩‍👩‍👧 family",
]
DIGIT_WORDS = r"\b(digits?|[Aa] zero|[Aa] nine|MNIST)\b"


@pytest.fixture
def shapes(built, tmp_path) -> Path:
    """Reports of ten shapes in colour."""
    return of_other_data(built, tmp_path / "reports", list(SHAPES))


@pytest.fixture
def params(page_params) -> dict[str, dict]:
    return params_of_other_data(page_params)


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Pictures of four pixels, for tests of words: drawing them takes most of the time of a page."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Image.new("L", (2, 2)).save(path, "PNG"))


@pytest.mark.parametrize("number", [2, 100])
def test_pages_stay_small_and_readable_at_any_number_of_classes(built, params, tmp_path, number):
    names = class_names(number)
    folder = of_other_data(built, tmp_path / "reports", names)
    shown = ("index", "latent", "baselines")  # the pages with a row or a column for every class
    for name in shown:
        build(PAGES[name][0], folder, folder, params[name])
        page = html_of(folder, name)
        assert len(page.encode()) < HEAVIEST
        assert max(map(int, re.findall(r'<img src="[^"]+" width="(\d+)"', page))) <= WIDEST
    for text in (html_of(folder, "index"), markdown_of(folder, "index")):
        words = plain(visible(text))
        assert [name for name in names if name not in words] == []


def test_nothing_speaks_of_digits_on_a_page_of_shapes(undrawn, shapes, params):
    build_all(shapes, params)
    for name in TITLES:
        for page in (html_of(shapes, name), markdown_of(shapes, name)):
            assert re.findall(DIGIT_WORDS, visible(without_other_studies(page))) == []


def test_a_study_of_other_data_stands_apart_and_decides_nothing(undrawn, shapes, params):
    build_all(shapes, params)
    for name in TITLES:
        page = html_of(shapes, name)
        last = re.findall(r'<section id="([^"]+)">', page)[-1]
        assert last == "elsewhere" and not re.search(r'<section id="(exercises|larger|stability)">', page)
        assert "digits" in visible(page.split('<section id="elsewhere">')[1])
    claims = [*spine_claims.noise_claims(reports_in(shapes, "index"), params["index"])]
    assert {claim.claim: claim.verdict for claim in claims}["Cosine performs better than linear"] == OPEN
    claims = [*latent_claims.latent_claims(reports_in(shapes, "latent"))]
    assert [claim.claim for claim in claims] == ["Latent diffusion is cheaper"]


def test_a_study_of_the_same_folder_of_images_speaks(undrawn, shapes, params):
    own = reports_in(shapes, "index").record("data/card.json")["checksum"]
    for study in STUDIES:
        edit_json(shapes / study / "about.json", data={"dataset": "folder", "checksum": own})
    build(PAGES["latent"][0], shapes, shapes, params["latent"])
    assert '<section id="larger">' in html_of(shapes, "latent") and "elsewhere" not in html_of(shapes, "latent")
    edit_json(shapes / "larger/about.json", data={"dataset": "folder", "checksum": "another"})
    build(PAGES["latent"][0], shapes, shapes, params["latent"])
    assert '<section id="larger">' not in html_of(shapes, "latent") and "elsewhere" in html_of(shapes, "latent")


def test_names_of_any_script_and_length_are_shown_in_full(undrawn, built, params, tmp_path):
    folder = of_other_data(built, tmp_path / "reports", SCRIPTS, size=32)
    build(PAGES["index"][0], folder, folder, params["index"])
    page = Elements(html_of(folder, "index"))
    assert [name for name in SCRIPTS if not page.shows(name)] == []
    markdown = Elements(MarkdownIt("commonmark").enable("table").render(markdown_of(folder, "index")))
    assert [name for name in SCRIPTS if not markdown.shows(name)] == []
    assert f"8: {SCRIPTS[7]}; 9: {SCRIPTS[8]}" in visible(html_of(folder, "index"))


def test_uneven_classes_are_drawn_by_their_shares(undrawn, shapes, params):
    for folder_is_uneven in (True, False):
        build(PAGES["index"][0], shapes, shapes, params["index"])
        text = plain(visible(html_of(shapes, "index")))
        assert ("The classes are uneven: drop has 355 images of training, circle 85." in text) == folder_is_uneven
        assert (shapes / "figures/index/classes.png").exists() == folder_is_uneven
        edit_csv(shapes / "data/counts.csv", "train > 0", train=100)


def test_the_weakest_class_is_named_only_if_it_stands_out():
    table = pd.DataFrame({"class": ["circle", "square", "star"], "n": 100, "accuracy": [0.6, 0.95, 0.93]})
    (sentence,) = verdict.weakest_class(table)
    assert "The weakest class is circle: the judge recognises 60 of its 100 samples, and 94.0 %" in plain_text(sentence)
    assert verdict.weakest_class(table.assign(accuracy=1.0)) == []
    assert verdict.weakest_class(table.assign(accuracy=[0.92, 0.95, 0.93])) == []
    assert verdict.weakest_class(table.assign(accuracy=float("nan"))) == verdict.weakest_class(table[:1]) == []


def test_a_weak_judge_is_told_at_the_top_and_what_rests_on_it_is_marked(undrawn, shapes, params):
    assert caution(reports_in(shapes, "index")) == ""
    edit_json(shapes / "judge/metrics.json", accuracy=0.68, n_test=400)
    build_all(shapes, params)
    for name in TITLES:
        top = plain(visible(html_of(shapes, name).split("<h1>")[0]))
        assert "The judge recognises only 68.0 % of 400 real test images" in top
        assert "> The judge recognises only" in markdown_of(shapes, name).split("\n## ")[0]
    page = html_of(shapes, "index")
    marked = re.findall(rf">([^<>]+){MARK}", page)
    assert {"FID", "Class accuracy", "Coverage", "Precision", "Recall", "Clipped density"} <= set(marked)
    assert MARK not in page.split('<section id="appendix">')[1].split("</section>")[0]
    assert f"Training{MARK}" not in page


def test_features_that_are_not_the_judges_own_do_not_rest_on_it(undrawn, shapes, params):
    edit_json(shapes / "judge/metrics.json", accuracy=0.68, n_test=400)
    edit_json(shapes / "evaluate/metrics.json", extractor="responses of fixed filters, whitened, 32 dimensions")
    build_all(shapes, params)
    page = html_of(shapes, "index")
    assert "FID, KID, precision, recall, clipped density and coverage do not rest on it" in page
    marked = re.findall(rf">([^<>]+){MARK}", page)
    assert "Class accuracy" in marked and not {"FID", "Coverage", "Precision"} & set(marked)


def test_test_images_that_are_trained_on_are_told():
    card = {"splits": {"test": {"n": 1000}}}
    assert data.duplicates_answer(card) == []
    assert data.duplicates_answer(card | {"duplicates": 40})[0].startswith("40 of the 1,000 test images are among the")


def test_a_good_judge_needs_no_word(built):
    for name in TITLES:
        assert MARK not in html_of(built, name) and MARK not in markdown_of(built, name)


@pytest.mark.parametrize("value", [0.0, None, float("inf")])
def test_degenerate_results_are_dashes_and_no_traceback(undrawn, built, page_params, tmp_path, value):
    folder = Path(shutil.copytree(built, tmp_path / "reports"))
    degenerate(folder, value)
    build_all(folder, page_params)
    for name in TITLES:
        for text in (visible(html_of(folder, name)), markdown_of(folder, name)):
            assert not re.search(r"\b(nan|NaN|None|inf|undefined|null)\b", text)


def test_a_floor_of_nothing_makes_no_ratio(shapes, params):
    edit_json(shapes / "evaluate/recommended.json", fid=3.0, fid_floor={"mean": 0.0, "std": 0.0, "draws": 5, "n": 1000})
    page, _ = PAGES["index"]
    assert "an FID of 3.00, against 0 for real images" in plain(page.headline(reports_in(shapes, "index")))
