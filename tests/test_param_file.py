"""The text of params.yaml: read as DVC reads it, or refused in one line; nothing in it can be more than it looks."""

import math
import re
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.params import file as param_file

ROOT = Path(__file__).resolve().parents[1]
FILES = ["params.yaml", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("chapters/*/params.yaml")))]
DEFAULT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def refusal(tmp_path, content: bytes | str) -> str:
    """What is said of a file, without its name."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError) as caught:
        param_file.read(path)
    line = str(caught.value)
    assert line.isprintable() and line.startswith(str(path)) and len(line) - len(str(path)) < 250
    return line.removeprefix(str(path))


def bomb(levels: int) -> str:
    """Every line is ten times the one before: 10^levels items in a few hundred characters."""
    lines = ["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, levels))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (DEFAULT.replace("seed: 0", "seed: 0\nseed: 1"), ", line 3: .*duplicate key .seed."),
        (DEFAULT.replace("  steps: 4000", "  steps: 4000\n  steps: 8000"), r", line \d+: .*duplicate key .steps."),
        (bomb(12), ", line 1: anchors and aliases"),
        ("a: &a [*a]", ", line 1: anchors and aliases"),
        ("seed: 0\ntrain: *nothing", ", line 2: anchors and aliases"),
        ("base: &b {steps: 1}\ntrain:\n  <<: *b", ", line 1: anchors and aliases"),
        ("seed: 0\n<<: {steps: 1}", ", line 2: a key that is not text"),
        ("seed: !!python/object/apply:os.system [ls]", ", line 1: the tag .*python.* is not possible"),
        ("seed: !!float 5", ", line 1: the tag "),
        ("seed: 0\n---\nseed: 1", ", line 2: .*another document"),
        ("seed: 0\n\ttimesteps: 3", ", line 2: "),
        ("seed: " + "[" * 90_000, ", line 1: more than 10 levels"),
        ("seed: " + "{a: " * 20_000, ", line 1: more than 10 levels"),
        ("".join(f"{' ' * k}a:\n" for k in range(300)), ", line 10: more than 10 levels"),
        ("seed: " + "9" * 5000, ", line 1: 5,000 characters in one value"),
        ("seed: |\n" + "  x\n" * 2000, ", line 1: 4,000 characters in one value"),
        ("x" * 200_000, ": 200,000 characters are not possible"),
        ("seed: 010", ", line 1: 010 is not possible .*numbers like 12"),
        ("seed: 0o10", ", line 1: 0o10 is not possible"),
        ("seed: 0x1F", ", line 1: 0x1F is not possible"),
        ("seed: 1_000", ", line 1: 1_000 is not possible"),
        ("seed: 1_0.5", ", line 1: 1_0.5 is not possible"),
        ("seed: 2026-01-02", ", line 1: 2026-01-02 would be a timestamp"),
        ("seed: 2026-13-45", ", line 1: 2026-13-45 would be a timestamp"),
        ("seed: 0\n? [a, b]\n: 1", ", line 2: a key that is not text"),
        ("seed: 0\ntrue: 1", ", line 2: a key that is not text"),
        ("seed: <<", ", line 1: << would be a merge"),
        ("seed: [1, 2", ", line 1: "),
        ("seed: 'x", ", line 1: .*unexpected end of stream"),
        ("seed: a\0b", ", line 1: the character 0x0 is not possible"),
        ("seed: 1\ndevice: \x1b[31m", ", line 2: the character 0x1b is not possible"),
        (b"seed: 0\ndevice: \xe9", ": not UTF-8 text .byte 16."),
        (DEFAULT.encode("utf-16"), ": not UTF-8 text .byte 0."),
        (bytes(range(256)), ": not UTF-8 text"),
        ("", ": None is not possible .allowed: keys with values."),
        ("# nothing", ": None is not possible"),
        ("- a", r": \['a'\] is not possible"),
        ("5", ": 5 is not possible"),
    ],
)
def test_what_params_have_no_use_for_is_refused_by_its_line(tmp_path, content, said):
    assert re.match(said, refusal(tmp_path, content))


@pytest.mark.parametrize("file", FILES)
def test_the_default_is_read_as_dvc_reads_it(file):
    assert param_file.read(ROOT / file) == parse_yaml((ROOT / file).read_text(encoding="utf-8"), file)


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_a_byte_order_mark_and_line_ends_of_other_systems_change_nothing(tmp_path, change):
    path = tmp_path / "params.yaml"
    path.write_bytes(change(DEFAULT).encode())
    assert param_file.read(path) == param_file.read(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-05", 1e-5), ("1e400", math.inf), ("yes", "yes"), ("on", "on"), ("true", True), ("1:30", "1:30"), ("~", None)],
)
def test_values_are_those_of_yaml_1_2(text, value):
    """PyYAML makes a text of the first, True of `yes` and 90 of 1:30: another run than the one that DVC records."""
    assert param_file.value(f"a: {text}") == {"a": value} == parse_yaml(f"a: {text}", "")


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.text("0123456789+-._eExobnfTruealsyNO~:,'\" #=<", max_size=8))
def test_a_value_is_what_dvc_takes_it_for_or_refused(text):
    try:
        value = param_file.value(f"a: {text}")
    except ValueError as error:
        assert str(error).startswith("line 1: ")
    else:
        assert repr(value) == repr(parse_yaml(f"a: {text}", ""))  # repr, as True == 1 and NaN != NaN
