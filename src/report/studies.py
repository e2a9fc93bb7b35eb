"""Studies, whose results are committed: what each was made with, and whether it speaks of the data of a page.

A study of other data decides no claim and stands in no section but the last, which says what it was made with.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from report.content import Block, Cell, Folded, Section, Table, Text
from report.reading import Reports, flat
from report.wording import MISSING, whole

OWN_IMAGES = "folder"  # the data set that is another one for every user: its checksum says which
MADE_WITH = ("schedule", "timesteps", "train.steps", "settings", "steps")  # of a study's record, where it has them


class Study(NamedTuple):
    """A study: its folder of reports, the file that its command writes last, its heading, and the command."""

    folder: str
    last: str
    title: str
    command: str

    def is_complete(self, reports: Reports) -> bool:
        """Whether its command has come to its end."""
        return f"{self.folder}/{self.last}" in reports

    def about(self, reports: Reports) -> dict[str, Any]:
        """Its record: `data` (the data set, and the checksum of a folder of images), `params`, the machine."""
        return reports.record(f"{self.folder}/about.json")

    def data(self, reports: Reports) -> tuple[str | None, str | None]:
        """Which images it was made of, as `data_of`; a study that does not say is of no data."""
        return data_of(self.about(reports).get("data", {}))

    def speaks(self, reports: Reports) -> bool:
        """Whether it is complete and of the same data as the page."""
        return self.is_complete(reports) and self.data(reports) == data_of(reports.record("data/card.json"))


EXERCISES = Study("exercises", "about.json", "Exercises side by side", "make sweep SWEEP=studies/exercises.yaml")
SEEDS = Study("seeds", "about.json", "Training seeds", "make sweep SWEEP=studies/seeds.yaml")
LESSON = Study("lesson", "about.json", "The lesson's own settings", "make lesson")
FRONTIER = Study("frontier", "about.json", "Network evaluations against quality", "make frontier")
LARGER = Study("larger", "about.json", "Larger images", "make study STUDY=larger")
STABILITY = Study("stability", "about.json", "Training stability", "make study STUDY=stability")
DENSITY = Study("density", "timing.json", "A denoiser trained for likelihood", "make study STUDY=density")


class Findings(NamedTuple):
    """What a study shows: its answer, a paragraph each, then pictures and tables."""

    answer: tuple[str, ...]
    blocks: tuple[Block, ...]


FindingsOf = Callable[[Reports, dict[str, Any]], Findings]  # with the params of the page


def data_of(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The data set of a data card or of a study's `data`, and which images of one's own."""
    dataset = record.get("dataset")
    return dataset, record.get("checksum") if dataset == OWN_IMAGES else None


def other_params(measured: dict[str, Any], params: dict[str, Any]) -> list[Text]:
    """A warning where what follows was measured with other params than this page is about.

    A key that params no longer have cannot differ.
    """
    here = flat(params)
    different = [f"`{key}`: {there}" for key, there in flat(measured).items() if here.get(key, there) != there]
    text = f"What follows was measured with other params: {', '.join(different)}."
    return [Text(text)] if different else []


def in_place(study: Study, findings_of: FindingsOf, reports: Reports, params: dict[str, Any]) -> list[Block]:
    """What a study shows in a section on something else, if it speaks of the page's data."""
    if not study.speaks(reports):
        return []
    found = findings_of(reports, params)
    return [*_warning(study, reports, params), *map(Text, found.answer), *found.blocks]


def section_of(
    study: Study, findings_of: FindingsOf, reports: Reports, params: dict[str, Any], label: str = ""
) -> Section | None:
    """A section of its own, if the study speaks of the page's data."""
    if not study.speaks(reports):
        return None
    found = findings_of(reports, params)
    blocks = (*_warning(study, reports, params), *found.blocks)
    return Section(study.folder, study.title, found.answer, blocks, label)


def elsewhere(studies: Mapping[Study, FindingsOf], reports: Reports, params: dict[str, Any]) -> Section | None:
    """The last section of a page: studies that were made of other data, each with what it was made with."""
    others = [study for study in studies if study.is_complete(reports) and not study.speaks(reports)]
    if not others:
        return None
    counted = "One study was" if len(others) == 1 else f"{whole(len(others))} studies were"
    answer = (
        f"{counted} made of other data than this page is about, so what they found says nothing of the model here: "
        "it decides no claim above and is counted nowhere."
    )
    blocks: list[Block] = [_origins(others, reports)]
    for study in others:
        found, name = studies[study](reports, params), f"{study.title}, of {study.data(reports)[0] or 'unknown data'}"
        blocks.append(Text(f"{name}: {' '.join(found.answer)}"))
        blocks += [Folded(name, found.blocks)] if found.blocks else []
    return Section("elsewhere", "Studies of other data", (answer,), tuple(blocks))


def _warning(study: Study, reports: Reports, params: dict[str, Any]) -> list[Text]:
    return other_params(study.about(reports).get("params", {}), params)


def _origins(studies: Sequence[Study], reports: Reports) -> Table:
    rows = [
        (study.title, study.data(reports)[0] or MISSING, _made_with(study.about(reports)), f"`{study.command}`")
        for study in studies
    ]
    headings = ("Study", "Data set", "Made with", "Command")
    caption = "What each was made with."
    return Table(caption, headings, (False,) * 4, tuple(tuple(map(Cell, row)) for row in rows))


def _made_with(about: dict[str, Any]) -> str:
    known = flat(about) | flat(about.get("params", {}))
    return ", ".join(f"{key} = {known[key]}" for key in MADE_WITH if key in known) or MISSING
