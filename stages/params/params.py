"""params.yaml, validated: every key must stand in the file, and every wrong value is refused in one line.

Like its three parts (param_file: the text, param_keys: each key alone, param_rules: keys together) it can only accept
or refuse a run and never changes a result, so no stage lists any of them as a dependency.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from stages.params import file as param_file
from stages.params.keys import Keys
from stages.params.rules import conflicts


class Params(Keys):
    """Values of all keys, each possible by itself and all of them together."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """The params in a YAML file. Raises ValueError, one line, for the first key or line that is wrong."""
        content = param_file.read(path)
        try:
            return cls.validated(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def validated(cls, content: dict[str, Any]) -> Self:
        """The params with these keys and values. Raises ValueError, one line, for the first key that is wrong."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(_described(error.errors(include_url=False)[0])) from error

    def changed(self, changes: Sequence[str]) -> Self:
        """With other values, each as `section.key=value`. Raises ValueError for a key or value that cannot be."""
        content = self.model_dump()
        for change in changes:
            path, _, text = change.partition("=")
            *sections, key = path.split(".")
            section = content
            for name in sections:
                section = section.get(name) if isinstance(section, dict) else None
            if not isinstance(section, dict) or key not in section:
                raise ValueError(f"{path}: unknown key (allowed: those of params.yaml, as section.key=value)")
            section[key] = param_file.value(text)
        return self.validated(content)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for conflict in conflicts(self):
            raise ValueError(str(conflict))
        return self


def _described(error: Any) -> str:
    """A validation error in one line: the key, the value, what is allowed."""
    if not error["loc"]:  # of keys together
        return str(error["ctx"]["error"])
    key = param_file.in_one_line(".".join(map(str, error["loc"])))
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
    return f"{key}: {param_file.shown(error['input'])} is not possible ({allowed})"
