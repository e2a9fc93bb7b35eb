"""What a study was made of, as its record says it: the pages show a study beside the same data alone."""

import json
from pathlib import Path


def origin_of(card: Path) -> dict[str, dict[str, str]]:
    """The `data` of a study's about.json: the data set of a data card, and the checksum of its images."""
    known = json.loads(card.read_text(encoding="utf-8"))
    return {"data": {name: known[name] for name in ("dataset", "checksum")}}
