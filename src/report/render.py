"""The content of a page as one self-contained HTML file, and as Markdown."""

import base64
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from report.content import Block, Folded, Gallery, Picture, Section
from report.wording import NB

LIGHT = 4 * 2**20  # bytes of all pictures of a page: so many may stay as they are
TINY = 16 * 2**10  # bytes of a picture that gains nothing from being compressed
WEBP_QUALITY = 85
TEMPLATES = Path(__file__).parent / "templates"
MARKUP = str.maketrans(  # of Markdown, as the characters themselves
    {character: f"\\{character}" for character in "\\*_[]#|~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "}
)


def render_html(content: dict[str, Any], path_of: Callable[[str], Path]) -> str:
    """The page as one self-contained text: style, script and pictures inside, nothing may be loaded from elsewhere.

    Pictures are read from `path_of` their names.
    """
    environment = _environment(autoescape=True)
    environment.filters |= {
        "inline": inline_html,
        "data_uri": partial(data_uri, path_of, smaller=_weight(content["sections"], path_of) > LIGHT),
    }
    style, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{content_hash(style)}'; script-src '{content_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.j2").render(**content, style=style, script=script, policy=policy)


def render_markdown(content: dict[str, Any]) -> str:
    """The same figures for people who browse the repository; pictures are linked relative to the folder."""
    environment = _environment(autoescape=False)
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


def data_uri(path_of: Callable[[str], Path], name: str, smaller: bool) -> str:
    """A PNG as the text of an `src`, as WebP if it is to be smaller."""
    path = path_of(name)
    content, kind = path.read_bytes(), "png"
    if smaller and len(content) > TINY:
        kind, compressed = "webp", io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").save(compressed, "WEBP", quality=WEBP_QUALITY)
        content = compressed.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def content_hash(text: str) -> str:
    """How a content security policy names a style or script that stands in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _weight(sections: Iterable[Section], path_of: Callable[[str], Path]) -> int:
    """The bytes of all pictures of a page."""
    return sum(path_of(name).stat().st_size for section in sections for name in _pictures(section.blocks))


def _pictures(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Picture():
                yield block.path
            case Gallery():
                yield from _pictures(block.pictures)
            case Folded():
                yield from _pictures(block.blocks)


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
