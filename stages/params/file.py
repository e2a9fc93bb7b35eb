"""Reads the keys and values of a params file as DVC does: as YAML 1.2, where 1e-05 is a number.

Params need a small part of YAML. The rest is refused with its line before anything is built from it: anchors and
aliases (which can expand to far more than the file holds), tags, dates, unusual numbers, duplicate keys.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.error import Mark, MarkedYAMLError
from yaml.events import Event
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.reader import ReaderError

MAX_CHARACTERS = 100_000  # of the file
MAX_VALUE_CHARACTERS = 1_000
MAX_LEVELS = 10  # of lists and sections
MAX_QUOTED = 100  # characters that an error quotes
KIND = "tag:yaml.org,2002:"  # the prefix of YAML's own tags
PLAIN = {  # what is not text unless it is quoted
    "null": "~|null|Null|NULL|",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)",
    "float": r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
    "timestamp": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?",
    "merge": "<<",
    "value": "=",
}
SCALARS = ("null", "bool", "int", "float", "str")
NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.IGNORECASE)


def read(path: Path) -> dict[str, Any]:
    """Read the keys and values in a file. Raises ValueError, one line with the file, for other YAML than the above."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start})") from error
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{path}: {len(text):,} characters are not possible (allowed: up to {MAX_CHARACTERS:,})")
    try:
        content = value(text)
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: {shown(content)} is not possible (allowed: keys with values)")
    return content


def value(text: str) -> Any:
    """Parse a text. Raises ValueError, one line that starts with the number of the wrong line."""
    try:
        return _PlainLoader(text).get_single_data()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the character {error.character:#x} is not possible") from error
    except MarkedYAMLError as error:
        assert error.problem_mark is not None
        problem = ": ".join(filter(None, (error.context, error.problem)))
        raise ValueError(f"line {error.problem_mark.line + 1}: {in_one_line(problem)}") from error


def shown(value: object) -> str:
    """A value as an error quotes it."""
    return in_one_line(repr(value))


def in_one_line(text: str) -> str:
    """A text with escapes for line breaks and other unprintable characters, cut if it is long."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: MAX_QUOTED + 1])
    return line if len(text) <= MAX_QUOTED else f"{line[:MAX_QUOTED]}..."


class _PlainLoader(yaml.SafeLoader):
    """Reads values as YAML 1.2 and refuses whatever params have no use for as soon as it appears."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    levels = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        """Build the next value with everything in it."""
        event = yaml.SafeLoader.peek_event(self)
        if event.anchor is not None:
            raise _refusal(event, "anchors and aliases (& and *) are not possible: write the value out")
        if event.tag is not None:
            raise _refusal(event, f"the tag {event.tag} is not possible")
        self.levels += 1
        if self.levels > MAX_LEVELS:
            raise _refusal(event, f"more than {MAX_LEVELS} levels of lists and sections are not possible")
        node = super().compose_node(parent, index)
        assert node is not None
        self.levels -= 1
        if isinstance(parent, MappingNode) and index is None:
            if node.tag != f"{KIND}str":
                raise _refusal(event, "a key that is not text is not possible")
            if node.value in [key.value for key, _ in parent.value]:
                raise _refusal(event, f"duplicate key {shown(node.value)}")
        if isinstance(node, ScalarNode):
            _refuse_other_scalars(event, node)
        return node


for _kind, _pattern in PLAIN.items():
    _PlainLoader.add_implicit_resolver(f"{KIND}{_kind}", re.compile(rf"({_pattern})\Z"), None)


def _refuse_other_scalars(event: Event, node: ScalarNode) -> None:
    text, kind = node.value, node.tag.removeprefix(KIND)
    if len(text) > MAX_VALUE_CHARACTERS:
        raise _refusal(
            event, f"{len(text):,} characters in one value are not possible (allowed: up to {MAX_VALUE_CHARACTERS:,})"
        )
    if kind not in SCALARS:
        raise _refusal(event, f"{text} would be a {kind}, which is not possible (quoted, it is text)")
    if kind in ("int", "float") and not NUMBER.fullmatch(text):
        raise _refusal(event, f"{text} is not possible (allowed: numbers like 12, -0.5, 1e-05; quoted, it is text)")


def _refusal(event: Event, problem: str) -> MarkedYAMLError:
    assert isinstance(event.start_mark, Mark)
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
