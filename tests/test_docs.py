"""What the documents say of the tests is true."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_guarantee_names_a_test_that_exists():
    named, file = [], None
    for found in re.finditer(r"`(test_\w+\.py)?::(test_\w+)`", (ROOT / "docs/guarantees.md").read_text()):
        file = found[1] or file
        named.append((file, found[2]))
    assert len(named) > 40
    missing = [(file, name) for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []
