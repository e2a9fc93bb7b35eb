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
OF_CLASSES = "Class accuracy|Accuracy|Recognised|Effective classes"  # measures that count what the judge recognises
# and those that compare features:
OF_FEATURES = "FID|KID|Precision|Recall|Clipped density|(?:Clipped c|C)overage|Diversity|Within classes"

B = TypeVar("B", bound=Block)


def caution(reports: Reports) -> str:
    """What the accuracy of the judge means for the figures of a page; empty where it is good."""
    judge = reports.record("judge/metrics.json")
    if judge["accuracy"] >= GOOD_JUDGE:
        return ""
    weak = (
        f"The judge recognises only {percent(judge['accuracy'])} of {whole(judge['n_test'])} real test images, and "
        f"below {percent(GOOD_JUDGE)} no figure that rests on it (marked {MARK}) says much. Class accuracy counts its "
        "mistakes as the model's. "
    )
    if not features_are_the_judges(reports):
        return f"{weak}FID, KID, precision, recall, clipped density and coverage do not rest on it."
    return (
        f"{weak}FID, KID, precision, recall, clipped density and coverage compare images in its features, which miss "
        "what it cannot tell apart: blurred or shapeless samples can score as well as real images. Trust the pictures "
        "first, and compare these figures only between runs with the same judge. `judge.extractor=fixed` compares by "
        "features that no judge has learned; more `judge.steps` or more images may help."
    )


def features_are_the_judges(reports: Reports) -> bool:
    """Whether images are compared in features of the judge, as far as is known, and not in another extractor's."""
    evaluated = "evaluate/metrics.json" in reports
    return not evaluated or "judge" in reports.record("evaluate/metrics.json")["extractor"]


class Marks:
    """Puts a mark at what rests on a weak judge: its classes, and where these are its own, features."""

    def __init__(self, of_features: bool) -> None:
        measures = f"{OF_CLASSES}|{OF_FEATURES}" if of_features else OF_CLASSES
        mentioned = (
            "FID|KID|[Cc]lass accuracy|[Cc]overage|look like real images" if of_features else "[Cc]lass accuracy"
        )
        self.heading = re.compile(rf"(?:Best )?(?:{measures})(?:, .*)?")  # as a whole
        self.mention = re.compile(rf"\b(?:{mentioned})\b")  # in a sentence

    def tiles(self, tiles: list[Tile]) -> list[Tile]:
        """The tiles with a mark at the names of those that rest on the judge."""
        return [replace(tile, name=self._name(tile.name)) for tile in tiles]

    def text(self, text: str) -> str:
        """A text with a mark at its first mention of a measure that rests on the judge."""
        return self.mention.sub(lambda found: found.group() + MARK, text, count=1)

    def section(self, section: Section) -> Section:
        """A section with marks at the headings of its tables, and at the first mention in every text."""
        if section.anchor in ELSEWHERE:
            return section
        answer, blocks = tuple(map(self.text, section.answer)), tuple(map(self._block, section.blocks))
        return replace(section, answer=answer, blocks=blocks)

    def _block(self, block: B) -> B:
        changes: dict[str, Any] = {}
        match block:
            case Text():
                changes = {"text": self.text(block.text)}
            case Picture():
                changes = {"caption": self.text(block.caption)}
            case Gallery():
                changes = {"pictures": tuple(map(self._block, block.pictures))}
            case Folded():
                changes = {"blocks": tuple(map(self._block, block.blocks))}
            case Table():
                rows = tuple((self._cell(row[0]), *row[1:]) for row in block.rows)
                changes = {"headings": tuple(map(self._name, block.headings)), "rows": rows}
        return replace(block, **changes)

    def _cell(self, cell: Cell) -> Cell:
        return replace(cell, text=self._name(cell.text))

    def _name(self, name: str) -> str:
        return name + MARK if self.heading.fullmatch(name) else name
