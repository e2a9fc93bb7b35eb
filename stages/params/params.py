"""Validated params: every key must be in its file, and every wrong value is refused in one line.

The spine has params.yaml and every chapter a params.yaml of its own; the type of a stage's params says which of them it
reads. Like its three parts (`file` reads the text, `keys` checks each key, `rules` checks them together) this module
only accepts or refuses a run and never changes a result, so no stage lists any of them as a dependency.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator

from stages.params import file
from stages.params.keys import AllKeys, BaselineKeys, Keys, LatentKeys, ScoreKeys
from stages.params.rules import conflicts, in_one_line
from stages.params.sizes import sized


class Params(Keys):
    """Values for all keys of the spine, each valid on its own and all of them together.

    Where a file has `auto` for the size of a network, they have the size.
    """

    _given: dict[str, Any] = PrivateAttr()

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the params files of a checkout.

        Raises ValueError, one line, for the first wrong key or line, or for all values that do not go together.
        """
        content: dict[str, Any] = {}
        file_of = {key: root / kind.FILE for kind in _kinds(cls) for key in kind.__annotations__}
        for path in [root / kind.FILE for kind in _kinds(cls)]:
            for key, value in file.read(path).items():
                expected = file_of.setdefault(key, path)
                if expected != path:
                    raise ValueError(f"{path}: {file.in_one_line(key)}: unknown key (it belongs in {expected})")
                content[key] = value
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problem = first_problem(error)
            raise ValueError(f"{file_of[problem.section]}: {problem.message}") from error

    @classmethod
    def validated(cls, content: dict[str, Any]) -> Self:
        """The params with these keys and values. Raises ValueError, one line, for the first key that is wrong."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(first_problem(error).message) from error

    def changed(self, changes: Sequence[str]) -> Self:
        """These params with other values, each given as to DVC: `section.key=value` or `file:section.key=value`.

        Raises ValueError for an unknown key or a wrong value.
        """
        content = copy.deepcopy(self._given)
        for change in changes:
            path, _, text = change.partition("=")
            path = path.rpartition(":")[2]
            *sections, key = path.split(".")
            section: Any = content
            for name in sections:
                section = section.get(name) if isinstance(section, dict) else None
            if not isinstance(section, dict) or key not in section:
                raise ValueError(f"{path}: unknown key (allowed: those of params.yaml, as section.key=value)")
            section[key] = file.value(text)
        return self.validated(content)

    @model_validator(mode="wrap")
    @classmethod
    def _sized(cls, content: Any, validated: ModelWrapValidatorHandler[Self]) -> Self:
        params = validated(sized(content))
        params._given = content
        return params

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        found = list(conflicts(self))
        if found:
            raise ValueError(in_one_line(found))
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
    """The classes that say what is in a file, the spine first."""
    return (kind for kind in reversed(cls.__mro__) if issubclass(kind, Keys) and "FILE" in vars(kind))


class Problem(NamedTuple):
    """What is wrong with params, and where."""

    section: str  # or key at the top level
    message: str


def first_problem(error: ValidationError) -> Problem:
    """The first of all validation errors in one line: the key, the value, what is allowed."""
    found = error.errors(include_url=False)[0]
    if not found["loc"]:  # of keys together
        conflict = str(found["ctx"]["error"])
        return Problem(re.split("[.:]", conflict, maxsplit=1)[0], conflict)
    key = file.in_one_line(".".join(map(str, found["loc"])))
    value = file.shown(found["input"])
    match found["type"]:
        case "missing":
            message = f"{key}: the key is missing (every key must be in the file)"
        case "extra_forbidden":
            message = f"{key}: unknown key"
        case "value_error":
            message = f"{key}: {value} is not possible (allowed: {found['ctx']['error']})"
        case "model_type":
            message = f"{key}: {value} is not possible (allowed: a section with keys)"
        case _:
            message = f"{key}: {value} is not possible ({found['msg']})"
    return Problem(str(found["loc"][0]), message)
