"""What stands at the top of the spine's page: the verdict on the recommended setting and at w = 1, and their figures as
tiles."""

import math
from typing import Any

from report.content import Tile
from report.reading import Reports
from report.spine.recommended import UNGUIDED, recommended, setting_of
from report.wording import duration, fixed, number, percent, ratio, share_of, spread, whole


def headline(reports: Reports) -> str:
    """FID with its n and floor, and how many samples show what was asked for, in both settings."""
    best, plain = recommended(reports), reports.record("evaluate/metrics.json")
    recall = "" if best["recall"] is None else f" Recall is {fixed(best['recall'])}."
    recognised = f"The judge recognises {share_of(best['accuracy'], best['n'])} of them as the class asked for.{recall}"
    made = f"In the recommended setting ({setting_of(best)}) {whole(best['n'])} images"
    without = f"From the same noise {UNGUIDED}, by {setting_of(plain)}"
    if best["fid"] is None:
        found = f"score a KID of {spread_of(best['kid'])} (FID needs 500 images or more)"
        beside = f"KID is {spread_of(plain['kid'])}"
    else:
        found = f"score an FID of {number(best['fid'])}, {_against_floor(best['fid'], best['fid_floor'])}"
        beside = f"FID is {number(plain['fid'])}"
    recalled = "" if plain["recall"] is None else f", with a recall of {fixed(plain['recall'])}"
    beside += f", and {share_of(plain['accuracy'], plain['n'])} are recognised{recalled}"
    return f"{made} {found}. {recognised} {without}, {beside}."


def tiles(reports: Reports) -> list[Tile]:
    """The headline figures of the recommended setting, each beside that at w = 1 and what real images score."""
    best, plain = recommended(reports), reports.record("evaluate/metrics.json")
    judge, train, floor = reports.record("judge/metrics.json"), reports.record("train/timing.json"), best["floor"]

    def tile(name: str, value: str, unguided: str, real: str) -> Tile:
        return Tile(f"{name}, recommended setting", value, f"w = 1: {unguided}; real images {real}")

    first = (
        tile("FID", number(best["fid"]), number(plain["fid"]), spread_of(best["fid_floor"]))
        if best["fid"] is not None
        else tile("KID", number(best["kid"]["mean"]), number(plain["kid"]["mean"]), spread_of(best["kid_floor"]))
    )
    return [
        first,
        tile("Class accuracy", percent(best["accuracy"]), percent(plain["accuracy"]), percent(judge["accuracy"])),
        tile("Recall", fixed(best["recall"]), fixed(plain["recall"]), fixed(floor.get("recall"))),
        tile("Coverage", fixed(best["coverage"]), fixed(plain["coverage"]), fixed(floor.get("coverage"))),
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
