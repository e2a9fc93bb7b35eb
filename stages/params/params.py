"""Params, validated: every key must stand in its file, and every wrong value is refused in one line.

The spine has params.yaml, and every chapter a file of its own beside it; a stage names by the type of its params which
of them it reads. Like its three parts (file: the text, keys: each key alone, rules: keys together) this module can only
accept or refuse a run and never changes a result, so no stage lists any of them as a dependency.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from stages.params import file
from stages.params.keys import AllKeys, BaselineKeys, Keys, LatentKeys, ScoreKeys
from stages.params.rules import conflicts


class Params(Keys):
    """Values of all keys of the spine, each possible by itself and all of them together."""

    @classmethod
    def load(cls, root: Path) -> Self:
        """The params in the files of a checkout. Raises ValueError, one line, for the first wrong key or line."""
        content: dict[str, Any] = {}
        stands_in = {key: kind.FILE for kind in _kinds(cls) for key in kind.__annotations__}
        for path in dict.fromkeys(kind.FILE for kind in _kinds(cls)):
            found = file.read(root / path)
            for key in found:
                if key in content:
                    raise ValueError(f"{root / path}: {key}: the key stands in {root / stands_in[key]} too")
                stands_in.setdefault(key, path)
            content |= found
        try:
            return cls.validated(content)
        except ValueError as error:
            section = re.split(r"[.:]", str(error), maxsplit=1)[0]
            raise ValueError(f"{root / stands_in[section]}: {error}") from error

    @classmethod
    def validated(cls, content: dict[str, Any]) -> Self:
        """The params with these keys and values. Raises ValueError, one line, for the first key that is wrong."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(_described(error.errors(include_url=False)[0])) from error

    def changed(self, changes: Sequence[str]) -> Self:
        """With other values, each as `section.key=value`, or `file:section.key=value` as DVC takes it.

        Raises ValueError for a key or value that cannot be.
        """
        content = self.model_dump()
        for change in changes:
            path, _, text = change.partition("=")
            path = path.rpartition(":")[2]
            *sections, key = path.split(".")
            section = content
            for name in sections:
                section = section.get(name) if isinstance(section, dict) else None
            if not isinstance(section, dict) or key not in section:
                raise ValueError(f"{path}: unknown key (allowed: those of params.yaml, as section.key=value)")
            section[key] = file.value(text)
        return self.validated(content)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for conflict in conflicts(self):
            raise ValueError(str(conflict))
        return self


class ScoreParams(Params, ScoreKeys):
    """The params of the spine and of the chapter on the score."""


class LatentParams(Params, LatentKeys):
    """The params of the spine and of the chapter on latent diffusion."""


class BaselineParams(Params, BaselineKeys):
    """The params of the spine and of the chapter on GAN and VAE."""


class AllParams(ScoreParams, LatentParams, BaselineParams, AllKeys):
    """The params of the spine and of every chapter, for studies."""


def _kinds(cls: type[Keys]) -> Iterator[type[Keys]]:
    """The classes that say what stands in a file, the spine first."""
    return (kind for kind in reversed(cls.__mro__) if "FILE" in vars(kind))


def _described(error: Any) -> str:
    """A validation error in one line: the key, the value, what is allowed."""
    if not error["loc"]:  # of keys together
        return str(error["ctx"]["error"])
    key = file.in_one_line(".".join(map(str, error["loc"])))
    match error["type"]:
        case "missing":
            return f"{key}: the key is missing (every key must stand in the file)"
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "value_error":
            allowed = f"allowed: {error['ctx']['error']}"
        case "model_type":
            allowed = "allowed: a section with keys"
        case _:
            allowed = error["msg"]
    return f"{key}: {file.shown(error['input'])} is not possible ({allowed})"
