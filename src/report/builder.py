"""Builds the two pages, index.html and README.md, from a folder of reports and nothing else."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from diffusion.files import write_text
from report.appendix import appendix_section, data_section, judge_section
from report.claims import claims_section
from report.compare import compare_section
from report.content import Section
from report.exercises import exercises_section
from report.guidance import guidance_section
from report.latent import latent_section
from report.noise import forward_section, schedules_section
from report.overview import headline, memorisation_section, tiles, verdict_section
from report.reading import FIGURES, Reports
from report.samplers import samplers_section
from report.score import score_section
from report.training import training_section
from report.wording import NB

TEMPLATES = Path(__file__).parent / "templates"
MARKUP = str.maketrans(  # of Markdown, as the characters themselves
    {character: f"\\{character}" for character in "\\*_[]#|~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "}
)


def build(folder: Path, params: dict[str, Any]) -> None:
    """Draw the figures of `folder` and write its index.html and README.md.

    `params` are those of params.yaml as nested dicts. Nothing outside of `folder` is read, the same files give the same
    bytes. Raises OSError for a missing file and ValueError, one line, for a damaged one.
    """
    reports = Reports(folder)
    for stale in folder.glob(f"{FIGURES}/*.png"):
        stale.unlink()
    content = {
        "title": f"Diffusion, measured: {params['data']['dataset']}",
        "params": params,
        "headline": headline(reports),
        "tiles": tiles(reports),
        "sections": sections(reports, params),
    }
    write_text(folder / "index.html", render_html(reports, content))
    write_text(folder / "README.md", render_markdown(content))


def sections(reports: Reports, params: dict[str, Any]) -> list[Section]:
    """The chapters in reading order."""
    return [
        verdict_section(reports),
        forward_section(reports),
        schedules_section(reports),
        training_section(reports, params),
        *exercises_section(reports, params),
        samplers_section(reports, params),
        guidance_section(reports, params),
        score_section(reports),
        latent_section(reports, params),
        compare_section(reports, params),
        memorisation_section(reports),
        claims_section(reports, params),
        data_section(reports),
        judge_section(reports),
        appendix_section(reports, params),
    ]


def render_html(reports: Reports, content: dict[str, Any]) -> str:
    """The page as one self-contained text: style, script and pictures inside, nothing may be loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": inline_html, "data_uri": lambda name: data_uri(reports.folder / name)}
    style, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{content_hash(style)}'; script-src '{content_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.j2").render(**content, style=style, script=script, policy=policy)


def render_markdown(content: dict[str, Any]) -> str:
    """The same main figures for people who browse the repository; pictures are linked relative to the folder."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": markdown_cell, "inline": markdown_text}
    text = environment.get_template("page.md.j2").render(**content)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def inline_html(text: str) -> Markup:
    """Text with `code` between backticks as HTML; everything else is escaped."""
    equals = " = ".replace(" ", NB)
    parts = (
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part.replace(" = ", equals))
        for i, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def markdown_text(text: str) -> str:
    """Text that Markdown does not take for markup; code between backticks stays code."""
    parts = text.split("`")
    return "`".join(part if i % 2 else part.translate(MARKUP) for i, part in enumerate(parts))


def markdown_cell(text: str) -> str:
    """Text in one cell of a Markdown table."""
    return markdown_text(" ".join(text.split()))


def data_uri(path: Path) -> str:
    """A PNG as the text of an `src`."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def content_hash(text: str) -> str:
    """How a content security policy names a style or script that stands in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
