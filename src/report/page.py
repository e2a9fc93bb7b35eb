"""A page, and how it is built from a folder of reports and nothing else: for browsers and in Markdown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from diffusion.files import write_text
from report.caution import Marks, caution, features_are_the_judges
from report.content import Section, Tile
from report.reading import FIGURES, Model, Reports
from report.render import render_html, render_markdown
from report.studies import FindingsOf, Study, elsewhere
from report.views import Views, write_views
from report.wording import listing, whole

SPINE = "index"
METRICS = "metrics.json"  # of the spine; a chapter's are in NAME.json
TITLES = {  # of every page, the spine and then its chapters
    SPINE: "Diffusion, measured",
    "score": "The score-based view",
    "latent": "Latent diffusion with text",
    "baselines": "Diffusion, GAN and VAE",
}
CURRENT = "train/model.json"  # the spine's model, as it is now
SectionOf = Callable[[Reports, dict[str, Any]], Section | None]


@dataclass(frozen=True)
class Page:
    """What stands on a page: a row of `sections` per section, which may return none where nothing was measured.

    `studies` are shown among its sections or, if they are of other data, after them; `models` names the records of the
    models that the page was made with; `denoiser` is the one that the spine trains.
    """

    name: str  # one of TITLES
    headline: Callable[[Reports], str]
    tiles: Callable[[Reports], list[Tile]]
    models: Mapping[str, str]
    sections: tuple[SectionOf, ...]
    studies: Mapping[Study, FindingsOf]
    views: Views


class Link(NamedTuple):
    """A page as the others link it."""

    title: str
    html: str
    markdown: str
    is_chapter: bool
    is_current: bool


class Made(NamedTuple):
    """Which models a page was made with, in words, and whether the spine has another one by now."""

    text: str
    digest: str
    current: str
    command: str

    @property
    def is_stale(self) -> bool:
        """Whether the figures belong to another model than the current one."""
        return self.digest != self.current


def build(page: Page, folder: Path, results: Path, params: dict[str, Any]) -> None:
    """Write a page into `folder`, as HTML and as Markdown, with its figures and what DVC's own views show of it.

    `params` are nested dicts. Nothing outside of `results` and `folder` is read, and the same files give the same
    bytes. Raises OSError for a missing file and ValueError, one line, for a damaged one.
    """
    reports = Reports(folder, page.name, results)
    draw(page, reports, params)
    write_views(page.views, reports, METRICS if page.name == SPINE else f"{page.name}.json")


def draw(page: Page, reports: Reports, params: dict[str, Any]) -> None:
    """Draw the figures of a page and write its two files; raises what `build` does."""
    folder = reports.folder
    for stale in folder.glob(f"{FIGURES}/{page.name}/*.png"):
        stale.unlink()
    made, warning = made_with(reports, page), caution(reports)
    headline, tiles, sections = page.headline(reports), page.tiles(reports), _sections(page, reports, params)
    if warning:
        marks = Marks(features_are_the_judges(reports))
        headline, tiles, sections = marks.text(headline), marks.tiles(tiles), [*map(marks.section, sections)]
    content = {
        "title": TITLES[page.name],
        "is_chapter": page.name != SPINE,
        "links": links(page.name),
        "params": params,
        "made": made,
        "caution": warning,
        "headline": headline,
        "tiles": tiles,
        "sections": sections,
    }
    html, markdown = (folder / name for name in file_names(page.name))
    write_text(html, render_html(content, reports.path))
    write_text(markdown, render_markdown(content))


def file_names(name: str) -> tuple[str, str]:
    """The files of a page: for a browser, and in Markdown."""
    return f"{name}.html", "README.md" if name == SPINE else f"{name}.md"


def links(current: str) -> list[Link]:
    """All pages, as relative links of the page `current`."""
    return [Link(title, *file_names(name), name != SPINE, name == current) for name, title in TITLES.items()]


def made_with(reports: Reports, page: Page) -> Made:
    """The models of a page beside the one that the spine has now."""
    models = {name: reports.model(record) for name, record in page.models.items()}
    texts = [f"{name} {_described(model)}" for name, model in models.items()]
    current = reports.model(CURRENT).digest
    command = f"dvc repro chapters/{page.name}/dvc.yaml"
    return Made(f"Made with {listing(texts)}.", models["denoiser"].digest, current, command)


def _sections(page: Page, reports: Reports, params: dict[str, Any]) -> list[Section]:
    """The sections that have something to show, and studies of other data after them."""
    functions: tuple[SectionOf, ...] = (*page.sections, partial(elsewhere, page.studies))
    return [section for of in functions if (section := of(reports, params)) is not None]


def _described(model: Model) -> str:
    return f"`{model.digest}` (`{model.schedule}` schedule, T = {whole(model.timesteps)}, {whole(model.steps)} steps)"
