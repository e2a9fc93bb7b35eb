"""What stands at the top of the spine's page: the verdict in one sentence, and its figures as tiles."""

import math
from typing import Any

from report.content import Tile
from report.reading import Reports
from report.wording import duration, fixed, number, percent, ratio, share_of, spread, whole


def headline(reports: Reports) -> str:
    """FID with its n and floor, and how many samples show what was asked for."""
    verdict = reports.record("evaluate/metrics.json")
    recall = "" if verdict["recall"] is None else f" Recall is {fixed(verdict['recall'])}."
    recognised = (
        f"The judge recognises {share_of(verdict['accuracy'], verdict['n'])} of them as the class asked for.{recall}"
    )
    made = f"{whole(verdict['n'])} images sampled with {whole(verdict['calls'])} network evaluations each"
    if verdict["fid"] is None:
        return f"{made} score a KID of {spread_of(verdict['kid'])} (FID needs 500 images or more). {recognised}"
    floor = verdict["fid_floor"]
    return f"{made} score an FID of {number(verdict['fid'])}, {_against_floor(verdict['fid'], floor)}. {recognised}"


def tiles(reports: Reports) -> list[Tile]:
    """The headline figures, each beside what real images score."""
    verdict, judge = reports.record("evaluate/metrics.json"), reports.record("judge/metrics.json")
    train, floor = reports.record("train/timing.json"), verdict["floor"]
    first = (
        Tile("FID", number(verdict["fid"]), f"real images {spread_of(verdict['fid_floor'])}")
        if verdict["fid"] is not None
        else Tile("KID", number(verdict["kid"]["mean"]), f"real images {spread_of(verdict['kid_floor'])}")
    )
    return [
        first,
        Tile("Class accuracy", percent(verdict["accuracy"]), f"real images {percent(judge['accuracy'])}"),
        Tile("Recall", fixed(verdict["recall"]), f"real images {fixed(floor.get('recall'))}"),
        Tile("Coverage", fixed(verdict["coverage"]), f"real images {fixed(floor.get('coverage'))}"),
        Tile("Training", duration(train["seconds"]), f"{train['parameters'] / 1e6:.1f} million parameters"),
    ]


def spread_of(measure: dict[str, Any] | None) -> str:
    """A measure of the verdict, `mean` and `std`."""
    return spread(measure["mean"], measure["std"]) if measure else spread(None, None)


def _against_floor(fid: float, floor: dict[str, Any]) -> str:
    shown = f"{spread_of(floor)} for real images"
    if fid <= floor["mean"] + 2 * floor["std"]:
        return f"no further from the test images than other real images are ({shown})"
    times = ratio(fid, floor["mean"])
    return f"against {shown}" if math.isnan(times) else f"{number(times, 2)} times the floor of {shown}"
