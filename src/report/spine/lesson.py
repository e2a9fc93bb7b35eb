"""The committed results of the lesson's own settings, run once to the end (`make lesson`)."""

from typing import Any

from report.appendix import machines
from report.content import Block, Cell, Folded, Gallery, Picture, Table
from report.plots.training import training_loss
from report.reading import Reports
from report.spine.training_curves import thinned
from report.studies import Findings
from report.wording import duration, fixed, listing, number, percent, whole

LESSON = "lesson"
SHOWN = (
    ("fid", "an FID of", number),
    ("accuracy", "a class accuracy of", percent),
    ("coverage", "a coverage of", fixed),
)


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """Text, pictures and tables."""
    pictures = _pictures(reports)
    blocks: list[Block] = [Gallery(pictures)] if pictures else []
    about = _record(reports, "about.json")
    if about:
        rows = tuple((Cell(str(key)), Cell(_plain(value))) for key, value in about.items())
        blocks.append(Table("About the lesson's run.", ("What", "Value"), (False, False), rows))
    if f"{LESSON}/timing.json" in reports:
        blocks.append(Folded("The machine of the lesson's run", (machines(reports, [LESSON]),)))
    text = lesson_text(*(_record(reports, name) for name in ("timing.json", "metrics.json")))
    return Findings((text,), tuple(blocks))


def lesson_text(timing: dict[str, Any], verdict: dict[str, Any]) -> str:
    """How long it took and what it reached; either may be empty."""
    parts = [f"took {duration(timing['seconds'])}"] if timing else []
    floor = verdict.get("floor", {}) | {"fid": verdict.get("fid_floor", {}).get("mean")}
    figures = [
        f"{name} {show(verdict[key])}" + (f" (real images {show(floor[key])})" if floor.get(key) else "")
        for key, name, show in SHOWN
        if isinstance(verdict.get(key), float)
    ]
    parts += [f"reached {listing(figures)} (n = {whole(verdict.get('n'))})"] if figures else []
    what = "The lesson's own settings (`presets/lesson.args`), run once to the end"
    return f"{what}, {listing(parts)}." if parts else f"{what}."


def _pictures(reports: Reports) -> tuple[Picture, ...]:
    pictures = []
    if f"{LESSON}/ddpm_grid.png" in reports:
        caption = "The lesson's run: 16 DDPM samples."
        pictures.append(reports.picture(f"{LESSON}/ddpm_grid.png", caption, "DDPM samples of the lesson's run"))
    if f"{LESSON}/history.csv" in reports:
        training_loss(reports.figure("lesson_loss.png"), thinned(reports.table(f"{LESSON}/history.csv")), "loss")
        caption = "The lesson's run: training loss, logarithmic."
        pictures.append(reports.drawn("lesson_loss.png", caption, "Loss of the lesson's run"))
    return tuple(pictures)


def _record(reports: Reports, name: str) -> dict[str, Any]:
    return reports.record(f"{LESSON}/{name}") if f"{LESSON}/{name}" in reports else {}


def _plain(value: object) -> str:
    return ", ".join(f"{key}: {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)
