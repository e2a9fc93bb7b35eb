"""What a weak judge means for a page: a word at its top, and a mark at every figure that rests on the judge."""

import re
from dataclasses import replace
from typing import Any, TypeVar

from report.content import Block, Cell, Folded, Gallery, Picture, Section, Table, Text, Tile
from report.reading import Reports
from report.wording import percent, whole

GOOD_JUDGE = 0.9  # of real test images recognised: below it no figure of the judge says much
MARK = "†"
ELSEWHERE = ("elsewhere", "appendix", "data")  # anchors of sections that rest on no judge, or on another one
MEASURES = "FID|KID|Class accuracy|Accuracy|Precision|Recall|Density|Coverage|Diversity|Within classes|Recognised"
HEADING = re.compile(rf"(?:Best )?(?:{MEASURES}|Effective classes)(?:, .*)?")  # as a whole
MENTION = re.compile(r"\b(?:FID|KID|[Cc]lass accuracy|[Cc]overage|look like real images)\b")  # in a sentence

B = TypeVar("B", bound=Block)


def caution(reports: Reports) -> str:
    """What the accuracy of the judge means for the figures of a page; empty where it is good."""
    judge = reports.record("judge/metrics.json")
    if judge["accuracy"] >= GOOD_JUDGE:
        return ""
    return (
        f"The judge recognises only {percent(judge['accuracy'])} of {whole(judge['n_test'])} real test images, and "
        f"below {percent(GOOD_JUDGE)} no figure that rests on it (marked {MARK}) says much. Class accuracy counts its "
        "mistakes as the model's. FID, KID, precision, recall, density and coverage compare images in its features, "
        "which miss what it cannot tell apart: blurred or shapeless samples can score as well as real images. Trust "
        "the pictures first, and compare these figures only between runs with the same judge. More `judge.steps` or "
        "more images may help."
    )


def marked_tiles(tiles: list[Tile]) -> list[Tile]:
    """The tiles with a mark at the names of those that rest on the judge."""
    return [replace(tile, name=tile.name + MARK) if _rests_on_judge(tile.name) else tile for tile in tiles]


def marked_text(text: str) -> str:
    """A text with a mark at its first mention of a measure that rests on the judge."""
    return MENTION.sub(lambda found: found.group() + MARK, text, count=1)


def marked_section(section: Section) -> Section:
    """A section with marks at the headings of its tables, and at the first mention in every text."""
    if section.anchor in ELSEWHERE:
        return section
    answer, blocks = tuple(map(marked_text, section.answer)), tuple(map(_marked, section.blocks))
    return replace(section, answer=answer, blocks=blocks)


def _marked(block: B) -> B:
    changes: dict[str, Any] = {}
    match block:
        case Text():
            changes = {"text": marked_text(block.text)}
        case Picture():
            changes = {"caption": marked_text(block.caption)}
        case Gallery():
            changes = {"pictures": tuple(map(_marked, block.pictures))}
        case Folded():
            changes = {"blocks": tuple(map(_marked, block.blocks))}
        case Table():
            rows = tuple((_marked_cell(row[0]), *row[1:]) for row in block.rows)
            changes = {"headings": tuple(map(_marked_name, block.headings)), "rows": rows}
    return replace(block, **changes)


def _marked_cell(cell: Cell) -> Cell:
    return replace(cell, text=_marked_name(cell.text))


def _marked_name(name: str) -> str:
    return name + MARK if _rests_on_judge(name) else name


def _rests_on_judge(name: str) -> bool:
    return HEADING.fullmatch(name) is not None
