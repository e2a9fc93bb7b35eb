"""What the documents say of the code and its tests is true."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from pkgutil import resolve_name

import grimp
import pytest

from diffusion.latents.captions import Vocabulary

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = ["README.md", "data/README.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md")))]


def test_every_guarantee_names_a_test_that_exists():
    named, file = [], None
    for found in re.finditer(r"`(test_\w+\.py)?::(test_\w+)`", (ROOT / "docs/guarantees.md").read_text()):
        file = found[1] or file
        named.append((file, found[2]))
    assert len(named) > 40
    missing = [(file, name) for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file(document):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text())
    missing = [link for link in links if "://" not in link and not ((ROOT / document).parent / link).exists()]
    assert missing == []


def test_the_ten_lines_of_the_readme_run(tmp_path):
    """As they are, from an empty folder, but for fewer steps."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(re.findall(r"^(?!from ).", block, re.MULTILINE)) == 10
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    fewer = block.replace("num_steps=1000", "num_steps=10").replace("by_ddim(50)", "by_ddim(5)")
    subprocess.run([sys.executable, "-c", fewer], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "digits.png").is_file()


def test_prompts_in_the_readme_are_words_of_the_default_data():
    words = json.loads((ROOT / "reports/captions/card.json").read_text())["vocabulary"]
    commands = re.findall(r"^diffusion-sample --prompt (.*?) --", README, re.MULTILINE)
    prompts = [prompt for command in commands for prompt in shlex.split(command)]
    assert len(prompts) >= 3
    for prompt in prompts:
        assert Vocabulary(tuple(words)).numbers(prompt)


def test_our_names_in_the_readme_exist():
    """The second column of the lesson's table: modules of the library, what is in them, and a stage."""
    rows = re.findall(r"^\|(.*?)\|(.*?)\|", README[README.index("| in the lesson |") :], re.MULTILINE)
    names = [name for _, ours in rows for name in re.findall(r"`([\w.]+)`", ours)]
    assert len(names) > 20
    missing = [name for name in names if not exists(f"diffusion.{name}") and not exists(f"stages.{name}")]
    assert missing == []


def exists(name: str) -> bool:
    """Whether there is a module, or something in one, under this dotted name."""
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_the_picture_of_the_rooms_is_the_import_graph(monkeypatch):
    """Every arrow of docs/architecture.md is an import, and every import between rooms follows the arrows."""
    (picture,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    names = {room: re.sub("<.*?>", " ", text) for room, text in re.findall(r'(\w+)\["(.*?)"\]', picture)}
    room_named = {name: room for room, text in names.items() for name in re.findall(r"[\w/]+", text)}
    arrows = defaultdict(set)
    for starts, ends in re.findall(r"^ *([\w &]+) --> ([\w &]+)$", picture, re.MULTILINE):
        for start in starts.split(" & "):
            arrows[start] |= set(ends.split(" & "))

    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.syspath_prepend(ROOT / "src")
    graph = grimp.build_graph("diffusion", "report", "playground", "stages", "studies", "benchmarks", cache_dir=None)
    imports = defaultdict(set)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            imports[room_of(module, room_named)].add(room_of(imported, room_named))
    for room in names:
        assert arrows[room] <= imports[room], f"{room} does not import {arrows[room] - imports[room]}"
        assert imports[room] <= reached(room, arrows), (
            f"no arrow from {room} to {imports[room] - reached(room, arrows)}"
        )


def room_of(module: str, room_named: dict[str, str]) -> str:
    """The room that names a module, or the package nearest to it."""
    path = module.removeprefix("diffusion.").replace(".", "/")
    named = [name for name in room_named if f"{path}/".startswith(f"{name}/")]
    assert named, f"{module} is in no room of the picture"
    return room_named[max(named, key=len)]


def reached(room: str, arrows: dict[str, set[str]]) -> set[str]:
    """A room, and all that arrows lead to from it."""
    found = {room}
    for one in arrows[room]:
        found |= reached(one, arrows)
    return found
