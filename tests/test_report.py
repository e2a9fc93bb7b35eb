"""The pages as a whole: self-contained, escaped, linked, the same bytes each time, and of the model they name."""

import base64
import hashlib
import io
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt
from PIL import Image
from run_reports import CHAPTERS, HOSTILE, PAGES, build_all, edit_json, reports_in

from diffusion.data import save_sheet
from report import page as page_module
from report.page import TITLES, build, file_names, made_with
from report.reading import Reports, literal, png_size
from report.render import inline_html, markdown_cell
from report.wording import NB

every_page = pytest.mark.parametrize("name", TITLES)
every_chapter = pytest.mark.parametrize("name", CHAPTERS)


@pytest.fixture
def reports(built, tmp_path) -> Reports:
    """A copy whose files a test may change."""
    return reports_in(Path(shutil.copytree(built, tmp_path / "reports")), "index")


def html_of(folder: Path, name: str) -> str:
    return (folder / file_names(name)[0]).read_text(encoding="utf-8")


def markdown_of(folder: Path, name: str) -> str:
    return (folder / file_names(name)[1]).read_text(encoding="utf-8")


def without_other_studies(page: str) -> str:
    """A page up to its last section, if that is the one on studies of other data."""
    return re.split(r'<(?:section|a) id="elsewhere">', page)[0]


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plain(text: str) -> str:
    return text.replace(NB, " ")


def visible(page: str) -> str:
    """What is left of an HTML page without style, script and tags."""
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL))


@every_page
def test_the_page_loads_nothing_from_elsewhere(built, name):
    page = html_of(built, name)
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'>\s)]+)""", page)
    links = {
        source.partition("?")[0]
        for source in sources
        if not source.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#"))
    }
    assert len(sources) > 5 and links == {file_names(other)[0] for other in TITLES}
    assert "http" not in re.sub(r"http-equiv", "", page)


@every_page
def test_the_policy_names_the_style_and_the_script_that_stand_in_the_page(built, name):
    page = html_of(built, name)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize(("name", "number"), [("index", 20), ("score", 6), ("latent", 5), ("baselines", 3)])
def test_every_picture_is_whole_and_has_its_size_and_a_description(built, name, number):
    page = html_of(built, name)
    pattern = r'<img src="data:image/(png|webp);base64,([^"]+)" width="(\d+)" height="(\d+)" alt="([^"]+)">'
    images = re.findall(pattern, page)
    assert len(images) == page.count("<img") >= number
    for kind, data, width, height, _ in images:
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        picture.load()
        assert picture.format == kind.upper() and picture.size == (int(width), int(height))


@every_page
def test_no_page_shows_a_missing_number(built, name):
    for text in (visible(html_of(built, name)), markdown_of(built, name)):
        assert len(text) > 4_000 and not re.search(r"\b(nan|NaN|None|inf|undefined|null)\b", text)


@every_page
def test_few_samples_are_reported_without_fid(odd, name):
    page = visible(html_of(odd, name))
    assert not re.search(r"\b(nan|None)\b", page.replace(HOSTILE[7], ""))
    if name == "index":
        assert (
            "FID needs 500 images" in page
            and "From the same noise without guidance (w = 1), by DDIM, 10 NFE" in plain(page)
        )


def test_the_five_exercises_start_with_their_answer(built):
    page = html_of(built, "index")
    for number in range(1, 6):
        after = page.split(f'<p class="kicker">Exercise {number}</p>')[1]
        assert re.match(r'\s*<h2>[^<]+</h2>\s*<div class="answer">\s*<p>.*\d', after)


def test_a_second_build_gives_the_same_bytes_and_leaves_the_other_pages_alone(built, reports, page_params):
    for name in TITLES:
        (reports.folder / "figures" / name / "stale.png").write_bytes(b"")
    build_all(reports.folder, page_params)
    before, after = files(built), files(reports.folder)
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] != after[path]] == []
    assert all([*(built / "figures" / name).glob("*.png")] for name in TITLES)


def test_the_spine_reads_nothing_of_a_chapter(built, reports, page_params):
    for folder in [folder for folders in CHAPTERS.values() for folder in folders]:
        shutil.rmtree(reports.folder / folder)
    for name in CHAPTERS:
        for file in file_names(name):
            (reports.folder / file).unlink()
    build(PAGES["index"][0], reports.folder, reports.folder, page_params["index"])
    for file in file_names("index"):
        assert (reports.folder / file).read_bytes() == (built / file).read_bytes()


def test_reports_stay_small(built):
    assert sum(map(len, files(built).values())) < 10 * 2**20


@every_page
def test_markdown_links_only_to_files_that_are_there(built, name):
    text = markdown_of(built, name)
    pictures, others = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text), re.findall(r"[^!]\[[^\]]*\]\(([^)#]+)\)", text)
    assert len(pictures) >= 3 and all((built / link).is_file() for link in [*pictures, *others])
    assert {file_names(other)[1] for other in TITLES} <= {*others}
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert tables and all(len({line.count("|") for line in table}) == 1 and len(table) > 2 for table in tables)


@every_page
def test_the_navigation_names_all_pages_and_marks_the_current_one(built, name):
    navigation = re.search(r'<nav class="pages".*?</nav>', html_of(built, name), re.DOTALL)[0]
    current = re.findall(r'href="([^"?]+)[^>]*aria-current="page"', navigation)
    assert current == [file_names(name)[0]] and navigation.count("<span>chapter</span>") == len(CHAPTERS)
    assert ("dvc repro chapters/score/dvc.yaml" in visible(navigation)) == (name == "index")


def test_a_page_names_the_models_that_it_was_made_with(built):
    digest = reports_in(built, "index").model("train/model.json").digest
    for name in TITLES:
        for text in (visible(html_of(built, name)), markdown_of(built, name)):
            text = plain(text.replace("`", "").replace("\n", " "))
            assert re.search(rf"denoiser +{digest} +\( *linear +schedule, T = 50, 60 steps\)", text)
    assert "latent denoiser" in visible(html_of(built, "latent"))


@every_chapter
def test_a_chapter_of_another_model_says_so_and_how_to_make_it_again(built, reports, page_params, name):
    warning = re.compile(r'<div class="warning" role="status"[^>]*>.*?</div>', re.DOTALL)
    hidden = warning.search(html_of(built, name))[0]
    assert " hidden>" in hidden and "The denoiser has changed" not in markdown_of(built, name)

    page, _ = PAGES[name]
    record = page.models["denoiser"] if name != "latent" else None
    edit_json(reports.folder / (record or "train/model.json"), sha256="0123456789abcdef" * 4)
    made = made_with(reports, page)
    assert made.is_stale == (record is not None)  # the chapter on latents compares with what the spine has now
    build(page, reports.folder, reports.folder, page_params[name])
    if made.is_stale:
        shown = warning.search(html_of(reports.folder, name))[0]
        assert " hidden>" not in shown and made.current in shown and "0123456789ab" in shown
        for text in (visible(shown), markdown_of(reports.folder, name)):
            assert "The denoiser has changed since" in text and f"dvc repro chapters/{name}/dvc.yaml" in text


def test_the_spine_has_no_warning(built):
    assert 'role="status"' not in html_of(built, "index")


class Elements(HTMLParser):
    """The tags of a page, what their attributes refer to, and all text that one sees."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.texts = set(), set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.texts += [value for name, value in attributes if name in ("alt", "aria-label")]

    def handle_data(self, text):
        self.texts.append(text)

    def shows(self, text: str) -> bool:
        return text in plain("".join(self.texts))


def as_shown(name: str) -> str:
    return plain(literal(name))


SHOWN_ON = ("index", "latent")  # the pages with names of classes


@every_page
def test_names_of_classes_make_no_markup_of_the_page(built, odd, name):
    usual, page = (Elements(html_of(folder, name)) for folder in (built, odd))
    assert page.tags <= usual.tags and page.attributes <= usual.attributes
    assert name not in SHOWN_ON or [name for name in HOSTILE if not page.shows(as_shown(name))] == []


@every_page
def test_names_of_classes_make_no_markup_of_the_markdown_page(built, odd, name):
    """By another reader of Markdown, which lets HTML through."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    usual, page = (Elements(reader.render(markdown_of(folder, name))) for folder in (built, odd))
    assert page.tags <= usual.tags and page.attributes <= usual.attributes
    assert name != "index" or [name for name in HOSTILE if not page.shows(as_shown(name))] == []
    text = markdown_of(odd, name)
    assert all("$" not in part.replace("\\$", "") for part in text.splitlines())
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    bars = [{len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} for table in tables]
    assert tables and all(len(counts) == 1 for counts in bars)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("index", ("run once to the end", "Exercises side by side", "make frontier")),
        ("score", ("make study STUDY=density",)),
        ("latent", ("Larger images",)),
        ("baselines", ("Trainings with other seeds",)),
    ],
)
def test_studies_are_shown_only_where_they_were_made(built, odd, name, shown):
    for text in shown:
        assert text in markdown_of(built, name)
        assert text not in markdown_of(odd, name).replace("“Exercises side by side”", "")


def test_only_digits_are_called_digits(built, reports, page_params):
    assert "can one see the digit?" in html_of(built, "index") and "Test digits" in html_of(built, "score")
    edit_json(reports.folder / "data/card.json", dataset="folder", source="a folder")
    for name in ("index", "score"):
        params = page_params[name] | {"data": page_params[name]["data"] | {"dataset": "folder"}}
        build(PAGES[name][0], reports.folder, reports.folder, params)
        text = without_other_studies(markdown_of(reports.folder, name))
        assert not re.search(r"\b[Dd]igits?\b", text)
    edit_json(reports.folder / "data/card.json", dataset="fashion_mnist")
    assert reports.noun() == "garment"


def test_text_is_escaped_and_only_backticks_make_markup():
    assert inline_html("a < b `<i>` &") == "a &lt; b <code>&lt;i&gt;</code> &amp;"
    assert markdown_cell("a|b\n<c> *d*") == r"a\|b &lt;c&gt; \*d\*"


def test_a_missing_or_damaged_file_is_named_in_one_line(reports):
    (reports.folder / "train/timing.json").write_text("{")
    with pytest.raises(ValueError, match="train/timing.json: not valid JSON") as error:
        reports.record("train/timing.json")
    assert "\n" not in str(error.value)
    (reports.folder / "data/counts.csv").write_text('a,b\n"1\n')
    with pytest.raises(ValueError, match="counts.csv: not a valid table"):
        reports.table("data/counts.csv")
    (reports.folder / "evaluate/recommended.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="recommended.png: not a PNG"):
        png_size(reports.folder / "evaluate/recommended.png")
    with pytest.raises(OSError, match="nowhere.json"):
        reports.record("nowhere.json")
    (reports.folder / "train/model.json").write_text('{"sha256": "00"}')
    with pytest.raises(ValueError, match="train/model.json: schedule is missing"):
        reports.model("train/model.json")


def test_tiles_of_a_sheet_are_the_pictures_that_it_was_made_of(tmp_path):
    pictures = torch.randint(0, 256, (6, 1, 5, 4), dtype=torch.uint8)
    save_sheet(tmp_path / "sheet.png", pictures, 3, scale=1)
    tiles = reports_in(tmp_path, "index").tiles("sheet.png", 2, 3)
    assert tiles.shape == (2, 3, 5, 4) and (tiles.reshape(6, 5, 4) == pictures[:, 0].numpy()).all()


def test_the_report_needs_no_torch():
    code = "import sys, report.spine.page, report.score.page, report.latent.page, report.baselines.page; "
    source = Path(page_module.__file__).parents[1]
    command = [sys.executable, "-c", f"{code}sys.exit('torch' in sys.modules)"]
    assert subprocess.run(command, env={"PYTHONPATH": str(source)}).returncode == 0
