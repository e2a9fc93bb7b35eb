"""Hundreds of mutations of params: each is valid, or is refused in one line that names the key or the line."""

import copy
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from param_files import FILES, parent_of, smoke_params
from test_failures import images, write_judge

from diffusion.data import save_split
from stages import schedules
from stages.params import file as param_file
from stages.params.params import AllParams

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {file: (ROOT / file).read_text(encoding="utf-8") for file in FILES}
SMOKE = smoke_params()
LIMITS = {"derandomize": True, "deadline": None, "database": None}


def paths_in(content: dict, prefix: str = "") -> list[str]:
    """Every key and section, dotted."""
    paths = []
    for key, value in content.items():
        paths += [f"{prefix}{key}", *(paths_in(value, f"{prefix}{key}.") if isinstance(value, dict) else [])]
    return paths


PATHS = paths_in(SMOKE)
OFTEN = ["seed", "timesteps"] * 15  # what stage `schedules` reads
EXTREMES = [None, True, False, "", "yes", "1e-05", "\0", "a\nb", "\x1b[31m", "x" * 1000, "<script>", "\ud800", {}, []]
EXTREMES += [0, 1, 2, 3, 7, 16, 21, 50, 1000, -1, 10**6, 2**31, 2**63 - 1, 2**63, 10**9, 10**400, -(10**400)]
EXTREMES += [0.0, -0.0, 0.5, 1.0, 1e-5, 5e-324, 1e308, -1e308, math.inf, -math.inf, math.nan]
EXTREMES += [
    [8],
    [8] * 9,
    [16, 32],
    [0] * 10_000,
    [[[[[[1]]]]]],
    [1, "a", None],
    [{"a": 1}],
    {"steps": 5},
    {"a": {"b": 1}},
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@st.composite
def mutated(draw) -> dict:
    """Keys and values with one of them replaced, removed, renamed, moved or made a list of itself."""
    content = copy.deepcopy(SMOKE)
    section, key = parent_of(content, draw(st.sampled_from(PATHS + OFTEN)))
    others = [name for name, value in content.items() if isinstance(value, dict) and name != key]
    ways = ["replace"] * 8 + ["scale"] * 4 + ["shift"] * 10 + ["remove", "rename", "move", "list"]
    match draw(st.sampled_from(ways)):
        case "replace":
            section[key] = draw(st.sampled_from(EXTREMES) | ANYTHING)
        case "scale" if is_number(section[key]):
            section[key] = type(section[key])(section[key] * draw(st.sampled_from([0.1, 0.5, 2, 3, 10, 1000, 1e9])))
        case "shift" if is_number(section[key]):
            section[key] += draw(st.integers(-5, 900))
        case "remove":
            del section[key]
        case "rename":
            section[draw(st.text(max_size=5000) | st.sampled_from([key.upper(), f"{key} ", f"{key}s"]))] = section.pop(
                key
            )
        case "move":
            content[draw(st.sampled_from(others))][key] = section.pop(key)
        case _:
            section[key] = [section[key]] * draw(st.integers(1, 3))
    return content


def names_a_key(message: str, content: dict) -> bool:
    """The message begins with a key of params.yaml, or with one that stands in the mutated content."""
    return any(message.startswith(param_file.in_one_line(path)) for path in PATHS + paths_in(content))


@pytest.fixture(scope="module")
def valid() -> list[AllParams]:
    """Those of 600 mutations that are valid; each of the others is refused by its key."""
    found = []

    @settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], **LIMITS)
    @given(mutated())
    def mutate(content):
        try:
            found.append(AllParams.validated(content))
        except ValueError as error:
            line = str(error)
            assert line.isprintable() and len(line) < 500, line
            assert names_a_key(line, content), line

    mutate()
    return found


def test_mutated_values_are_valid_or_refused_by_their_key(valid):
    assert 120 < len(valid) < 480 and all(AllParams.validated(params.model_dump()) == params for params in valid)


@st.composite
def mutated_text(draw) -> tuple[Path, str]:
    """One of the files with a line removed, doubled, moved, indented, or changed in its value or its characters."""
    file = draw(st.sampled_from(FILES))
    lines = TEXTS[file].splitlines()
    at, to = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match draw(st.sampled_from(["remove", "double", "move", "indent", "value", "value", "value", "characters"])):
        case "remove":
            del lines[at]
        case "double":
            lines.insert(to, lines[at])
        case "move":
            lines.insert(to, lines.pop(at))
        case "indent":
            lines[at] = draw(st.sampled_from([" ", "  ", "\t"])) + lines[at]
        case "value":
            raw = st.text("0123456789+-._eExob[]{}&*!|>%@`'\"#,: ", max_size=12)
            lines[at] = f"{lines[at].split(':')[0]}: {draw(raw)}"
        case "characters":
            column = draw(st.integers(0, len(lines[at])))
            lines[at] = (
                lines[at][:column] + draw(st.text(st.characters(codec="utf-8"), min_size=1)) + lines[at][column:]
            )
    return file, "\n".join(lines)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], **LIMITS)
@given(mutated_text())
def test_a_mutated_text_is_valid_or_refused_by_key_or_line(tmp_path, mutated):
    for name, text in {**TEXTS, mutated[0]: mutated[1]}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    try:
        AllParams.load(tmp_path)
    except ValueError as error:
        file, text = mutated
        path = next(tmp_path / name for name in FILES if str(error).startswith(f"{tmp_path / name}"))
        line = str(error).removeprefix(str(path))
        assert line.isprintable() and len(line) < 500, line
        assert re.match(r", line \d+: ", line) or names_a_key(line.removeprefix(": "), param_file.value(text)), line


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """What stage `schedules` reads, of noise."""
    folder = tmp_path_factory.mktemp("digits")
    save_split(folder / "test.safetensors", images(10), {"dataset": "digits"})
    write_judge(folder / "noisy_judge.safetensors")
    return folder


def test_twenty_that_are_valid_run(digits, valid):
    """Stage `schedules`, whole."""
    different = {(params.timesteps, params.seed): params for params in valid if params.timesteps <= 1000}
    assert len(different) >= 20
    for params in list(different.values())[:20]:
        schedules.main(params, data=digits, models=digits, results=digits / "results")
        figures = json.loads((digits / "results" / "metrics.json").read_text())
        assert figures["timesteps"] == params.timesteps
