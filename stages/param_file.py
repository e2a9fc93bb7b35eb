"""The text of params.yaml as keys and values, read as DVC reads it: by ruamel, as YAML 1.2.

Params need a small part of YAML. The rest is refused with its line before anything is built from it: anchors and
aliases (which can stand for far more than the file holds), tags, dates, unusual numbers, keys that stand twice.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import Event
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

MOST_CHARACTERS = 100_000  # of the file
LONGEST = 1_000  # characters of a value
DEEPEST = 10  # levels of lists and sections
SHOWN = 100  # characters of what an error quotes
KIND = "tag:yaml.org,2002:"  # what tags of YAML itself begin with
SCALARS = ("null", "bool", "int", "float", "str")
NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.IGNORECASE)


def read(path: Path) -> dict[str, Any]:
    """The keys and values in a file. Raises ValueError, one line with the file, where it is not YAML as above."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start})") from error
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{path}: {len(text):,} characters are not possible (allowed: up to {MOST_CHARACTERS:,})")
    try:
        content = value(text)
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: {shown(content)} is not possible (allowed: keys with values)")
    return content


def value(text: str) -> Any:
    """What a text stands for. Raises ValueError, one line that starts with the number of the line that is wrong."""
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _PlainComposer
    try:
        return reader.load(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the character {error.character:#x} is not possible") from error
    except MarkedYAMLError as error:
        problem = ": ".join(filter(None, (error.context, error.problem)))
        raise ValueError(f"line {error.problem_mark.line + 1}: {in_one_line(problem)}") from error


def shown(value: object) -> str:
    """A value as an error quotes it."""
    return in_one_line(repr(value))


def in_one_line(text: str) -> str:
    """A text without line breaks and other characters that cannot be printed, cut where it is long."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: SHOWN + 1])
    return line if len(text) <= SHOWN else f"{line[:SHOWN]}..."


class _PlainComposer(Composer):
    """Refuses every part of a file that params have no use for as soon as it comes."""

    levels = 0

    def compose_node(self, parent: Node | None, index: object) -> Node:
        """The next value with all that is in it."""
        event = self.parser.peek_event()
        if event.anchor is not None:
            raise _refusal(event, "anchors and aliases (& and *) are not possible: write the value out")
        if event.tag is not None:
            raise _refusal(event, f"the tag {event.tag} is not possible")
        self.levels += 1
        if self.levels > DEEPEST:
            raise _refusal(event, f"more than {DEEPEST} levels of lists and sections are not possible")
        node = super().compose_node(parent, index)
        self.levels -= 1
        is_key = isinstance(parent, MappingNode) and index is None
        if is_key and node.tag != f"{KIND}str":
            raise _refusal(event, "a key that is no text is not possible")
        if isinstance(node, ScalarNode):
            _refuse_other_scalars(event, node)
        return node


def _refuse_other_scalars(event: Event, node: ScalarNode) -> None:
    text, kind = node.value, node.tag.removeprefix(KIND)
    if len(text) > LONGEST:
        raise _refusal(event, f"{len(text):,} characters in one value are not possible (allowed: up to {LONGEST:,})")
    if kind not in SCALARS:
        raise _refusal(event, f"{text} would be a {kind}, which is not possible (in quotes it is a text)")
    if kind in ("int", "float") and not NUMBER.fullmatch(text):
        raise _refusal(event, f"{text} is not possible (allowed: numbers as 12, -0.5, 1e-05; in quotes it is a text)")


def _refusal(event: Event, problem: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
