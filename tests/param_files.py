"""Params as one mapping of all keys, and the files of the spine and of the chapters that hold them."""

from pathlib import Path
from typing import Any

import yaml

from stages.params.keys import BaselineKeys, Keys, LatentKeys, ScoreKeys
from stages.params.params import AllParams

ROOT = Path(__file__).resolve().parents[1]
FILES = [kind.FILE for kind in (Keys, ScoreKeys, LatentKeys, BaselineKeys)]
IN_CHAPTER = {key: kind.FILE for kind in (ScoreKeys, LatentKeys, BaselineKeys) for key in kind.__annotations__}


def default_params() -> dict[str, Any]:
    return read_params(ROOT)


def smoke_params() -> dict[str, Any]:
    preset = (ROOT / "presets" / "smoke.args").read_text().replace("-S ", "").split()
    return AllParams.load(ROOT).changed(preset).model_dump()


def read_params(folder: Path) -> dict[str, Any]:
    return {key: value for file in FILES for key, value in yaml.safe_load((folder / file).read_text()).items()}


def write_params(folder: Path, params: dict[str, Any]) -> None:
    """Every key in its file; one that no file has stands in params.yaml."""
    for file in FILES:
        content = {key: value for key, value in params.items() if IN_CHAPTER.get(key, Keys.FILE) == file}
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(yaml.safe_dump(content, sort_keys=False))


def parent_of(params: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The mapping that holds the last part of a dotted key, and that part."""
    *sections, key = path.split(".")
    for name in sections:
        params = params[name]
    return params, key


def set_param(folder: Path, path: str, value: object) -> None:
    """Write another value of a dotted key."""
    params = read_params(folder)
    section, key = parent_of(params, path)
    section[key] = value
    write_params(folder, params)
