"""The page in a real browser: Debian's chromium, no network, a phone and a desk, light and dark."""

import os
import shutil
from pathlib import Path

import pytest
from fake_reports import HOSTILE, built_reports, odd_reports

from report.reading import literal

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    return address_of(built_reports(tmp_path_factory.getbasetemp()))


def address_of(reports: Path) -> str:
    return Path(os.path.abspath(reports / "index.html")).as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens the page at a width and colour scheme; messages and requests gather in `page.heard` and `page.asked`."""
    contexts = []

    def open_page(width: int, scheme: str = "light", address: str = address):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
        )
        page = contexts[-1].new_page()
        page.heard, page.asked = [], []
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_width_and_says_nothing_to_the_console(open_page, width):
    page = open_page(width)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "Array.from(document.images).filter(image => !image.complete || image.naturalWidth === 0).length"
    assert page.evaluate("document.images.length") > 20 and page.evaluate(broken) == 0
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
    assert [int(text.replace(",", "")) for text in column(table, 0)] == [1000, 751, 501, 251, 101, 1]


def test_dark_mode_is_dark_and_pictures_stay_on_light_cards(open_page):
    def brightness(page, selector: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).backgroundColor")
        return sum(map(float, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3

    light, dark = open_page(1280, "light"), open_page(1280, "dark")
    assert brightness(light, "body") > 230 and brightness(dark, "body") < 40
    assert brightness(light, ".card") == brightness(dark, ".card") == 255


def test_the_contents_lead_to_every_section(open_page):
    page = open_page(1280)
    anchors = page.evaluate("Array.from(document.querySelectorAll('nav a')).map(a => a.getAttribute('href').slice(1))")
    assert anchors == page.evaluate("Array.from(document.querySelectorAll('main section')).map(s => s.id)")
    page.locator("nav a[href='#samplers']").click()
    assert abs(page.evaluate("document.querySelector('#samplers').getBoundingClientRect().top")) < 100


def test_names_of_classes_are_text_and_nothing_that_runs_or_loads(open_page, tmp_path_factory):
    """As a browser sees it: no script but the page's own, no picture but those inside, no word to the console."""
    page = open_page(1280, address=address_of(odd_reports(tmp_path_factory.getbasetemp())))
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
