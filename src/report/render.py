"""The content of a page as one self-contained HTML file, and as Markdown."""

import base64
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from report.wording import NB

LARGE_PNG = 256 * 2**10  # bytes
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
    environment.filters |= {"inline": inline_html, "data_uri": lambda name: data_uri(path_of(name))}
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


def data_uri(path: Path) -> str:
    """A PNG as the text of an `src`; a large one, of photographs or noise, as WebP."""
    content, kind = path.read_bytes(), "png"
    if len(content) > LARGE_PNG:
        kind, smaller = "webp", io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").save(smaller, "WEBP", quality=WEBP_QUALITY)
        content = smaller.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def content_hash(text: str) -> str:
    """How a content security policy names a style or script that stands in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
