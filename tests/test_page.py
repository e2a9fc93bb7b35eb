"""The pages in a real browser: Debian's chromium, no network, a phone and a desk, light and dark."""

import os
import shutil
from pathlib import Path

import pytest
from run_reports import CHAPTERS, HOSTILE, reports_in

from report.page import TITLES
from report.reading import literal


@pytest.fixture
def address(built) -> str:
    return address_of(built)


def address_of(reports: Path, name: str = "index") -> str:
    return Path(os.path.abspath(reports / f"{name}.html")).as_uri()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("name", "pictures"), [("index", 20), ("score", 7), ("latent", 5), ("baselines", 3)])
def test_the_page_fits_its_width_and_says_nothing_to_the_console(open_page, built, name, pictures, width):
    page = open_page(width, address=address_of(built, name))
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "Array.from(document.images).filter(image => !image.complete || image.naturalWidth === 0).length"
    assert page.evaluate("document.images.length") >= pictures and page.evaluate(broken) == 0
    assert page.heard == []


def test_nothing_is_loaded_but_the_page_itself(open_page, address):
    page = open_page(1280)
    assert {url for url in page.asked if not url.startswith("data:")} == {address}
    page.evaluate("fetch('https://example.invalid/').catch(() => null)")
    assert any("Content Security Policy" in message for message in page.heard)


def test_wide_tables_scroll_in_their_own_container(open_page):
    page = open_page(390)
    wide = "Array.from(document.querySelectorAll('.scroll')).filter(box => box.scrollWidth > box.clientWidth).length"
    assert page.evaluate(wide) >= 2
    assert page.evaluate("Array.from(document.querySelectorAll('.scroll')).every(box => box.tabIndex === 0)")


def test_text_keeps_a_readable_size_and_measure(open_page):
    for width in (390, 1280):
        page = open_page(width)
        size, measure = page.evaluate(
            "(() => { const p = document.querySelector('.answer p'); "
            "return [parseFloat(getComputedStyle(p).fontSize), p.getBoundingClientRect().width] })()"
        )
        assert size >= 16 and measure <= 40 * size


def column(table, index: int) -> list[str]:
    return table.locator(f"tbody tr td:nth-child({index + 1})").all_inner_texts()


def test_a_table_sorts_by_number_with_mouse_and_keyboard(open_page):
    page = open_page(1280)
    table = page.locator("#samplers table").first
    headings = table.locator("thead th").all_inner_texts()
    seconds = headings.index("Seconds")
    before = column(table, seconds)
    button = table.get_by_role("button", name="Seconds")
    assert table.locator("th[aria-sort]").count() == 0
    button.click()
    assert table.locator("th").nth(seconds).get_attribute("aria-sort") == "ascending"
    rising = [float(text) for text in column(table, seconds)]
    assert rising == sorted(rising) and column(table, seconds) != before
    button.focus()
    page.keyboard.press("Enter")
    assert table.locator("th").nth(seconds).get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(table, seconds)] == sorted(rising, reverse=True)
    table.get_by_role("button", name="Sampler").click()
    assert column(table, 0) == sorted(column(table, 0)) and table.locator("th[aria-sort]").count() == 1


def test_numbers_in_powers_of_ten_sort_by_value(open_page):
    page = open_page(1280)
    table = page.locator("#forward table").first
    table.get_by_role("button", name="SNR", exact=True).click()
    assert [int(text.replace(",", "")) for text in column(table, 0)] == [50, 38, 25, 13, 5, 1]


def test_dark_mode_is_dark_and_pictures_stay_on_light_cards(open_page):
    def brightness(page, selector: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).backgroundColor")
        return sum(map(float, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3

    light, dark = open_page(1280, "light"), open_page(1280, "dark")
    assert brightness(light, "body") > 230 and brightness(dark, "body") < 40
    assert brightness(light, ".card") == brightness(dark, ".card") == 255


def test_the_contents_lead_to_every_section(open_page):
    page = open_page(1280)
    links = "Array.from(document.querySelectorAll('nav.contents a')).map(a => a.getAttribute('href').slice(1))"
    anchors = page.evaluate(links)
    assert anchors == page.evaluate("Array.from(document.querySelectorAll('main section')).map(s => s.id)")
    page.locator("nav.contents a[href='#samplers']").click()
    assert abs(page.evaluate("document.querySelector('#samplers').getBoundingClientRect().top")) < 100


def test_names_of_classes_are_text_and_nothing_that_runs_or_loads(open_page, odd):
    """As a browser sees it: no script but the page's own, no picture but those inside, no word to the console."""
    page = open_page(1280, address=address_of(odd))
    rows = page.locator("#data tbody tr td:first-child").all_inner_texts()
    assert rows == [literal(name) for name in HOSTILE]
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('b, h1').length") == 1
    assert page.heard == [] and len({url for url in page.asked if not url.startswith("data:")}) == 1


def test_a_policy_that_fits_is_the_only_thing_that_lets_the_style_and_the_script_in(open_page, address, tmp_path):
    """A character more in either, and the browser refuses it: the hashes do hold."""
    text = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
    for tag in ("style", "script"):
        changed = tmp_path / f"{tag}.html"
        changed.write_text(text.replace(f"</{tag}>", f" </{tag}>"), encoding="utf-8")
        page = open_page(1280, address=changed.as_uri())
        assert len(page.heard) == 1 and "Content Security Policy" in page.heard[0]


def test_the_pages_lead_to_each_other_from_disk(open_page):
    page = open_page(1280)
    for title in [*list(TITLES.values())[1:], TITLES["index"]]:
        page.locator("nav.pages").get_by_role("link", name=title).click()
        assert page.locator("h1").inner_text() == title
        assert page.locator("nav.pages a[aria-current]").inner_text().startswith(title)
    assert page.heard == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_warns_where_the_model_that_the_link_names_is_another(open_page, built, name):
    """Under the page's own policy; nothing but a digest is taken from the address."""
    own, address = reports_in(built, name).model("train/model.json").digest, address_of(built, name)

    def warning(query: str) -> str | None:
        page = open_page(1280, address=f"{address}{query}")
        assert page.heard == []
        box = page.get_by_role("status")
        return box.inner_text() if box.is_visible() else None

    assert warning("") is None and warning(f"?model={own}") is None and warning(f"?model={own}#claims") is None
    assert warning("?model=<b>none</b>") is None and warning("?model=0123") is None
    told = warning("?model=0123456789ab")
    assert "the pipeline now has 0123456789ab" in told and own in told and f"dvc repro chapters/{name}/dvc.yaml" in told


def test_links_carry_the_current_model_from_the_spine_through_the_chapters(open_page, built, tmp_path):
    """The spine has been trained again, the chapters have not."""
    reports = Path(shutil.copytree(built, tmp_path / "reports"))
    spine, own = reports / "index.html", reports_in(built, "index").model("train/model.json").digest
    spine.write_text(spine.read_text(encoding="utf-8").replace(f"?model={own}", "?model=0123456789ab"), "utf-8")
    page = open_page(1280, address=address_of(reports))
    for name in CHAPTERS:
        page.locator("nav.pages").get_by_role("link", name=TITLES[name]).click()
        assert "the pipeline now has 0123456789ab" in page.get_by_role("status").inner_text()
    page.locator("nav.pages").get_by_role("link", name=TITLES["index"]).click()
    assert page.get_by_role("status").count() == 0 and page.heard == []


def test_a_chapter_that_warned_when_it_was_built_is_quiet_once_its_model_is_back(open_page, built, tmp_path):
    own = reports_in(built, "score").model("score/model.json").digest
    stale = tmp_path / "score.html"
    text = (built / "score.html").read_text(encoding="utf-8")
    stale.write_text(text.replace(f'data-model="{own}" hidden', f'data-model="{own}"'), encoding="utf-8")
    assert open_page(1280, address=stale.as_uri()).get_by_role("status").is_visible()
    assert open_page(1280, address=f"{stale.as_uri()}?model={own}").get_by_role("status").is_hidden()
