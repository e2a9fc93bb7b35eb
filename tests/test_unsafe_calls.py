"""Nothing is unpickled, evaluated or handed to a shell: ruff's rules on all code, and what they cannot see."""

import ast
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "stages", "studies", "benchmarks", "tests")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
RULES = "S102,S301,S302,S307,S506,S602,S604,S605,TID251"
BUILTINS = {"eval", "exec", "__import__"}
MUST_BE = {"shell": False, "allow_pickle": False, "weights_only": True, "use_safetensors": True}  # where they are given
BOMBS = {"tests/test_data.py"}  # writes what the code must refuse


def refused_by_ruff(folder: Path, *paths: str) -> dict[str, set[str]]:
    """What the rules say of files, with this project's configuration; `noqa` excuses nothing."""
    command = ["ruff", "check", "--config", ROOT / "pyproject.toml", "--config", "lint.per-file-ignores = {}"]
    command += ["--select", RULES, "--ignore-noqa", "--no-cache", "--output-format", "json", *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, set[str]] = {}
    for line in json.loads(done.stdout):
        found.setdefault(str(Path(line["filename"]).relative_to(folder)), set()).add(line["code"])
    return found


def refused_by_us(source: str) -> set[str]:
    """Builtins that run a text, under whatever name, and keywords that make a safe call unsafe."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found |= {node.id} & BUILTINS
        elif isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            values = {name: getattr(given[name], "value", None) for name in MUST_BE if name in given}
            found |= {name for name, value in values.items() if value is not MUST_BE[name]}
            if ast.unparse(node.func).endswith("from_pretrained") and {"use_safetensors", None}.isdisjoint(given):
                found.add("from_pretrained")
    return found


def test_no_file_holds_a_call_that_runs_what_it_reads():
    assert len(FILES) > 100
    assert set(refused_by_ruff(ROOT, *FOLDERS)) == BOMBS
    refused = {str(path.relative_to(ROOT)) for path in FILES if refused_by_us(path.read_text(encoding="utf-8"))}
    assert refused == BOMBS


UNSAFE = [
    "import pickle",
    "import pickle as p; p.loads(b'')",
    "from pickle import loads",
    "def f():\n    import pickle",
    "import joblib",
    "from joblib import load as fetch",
    "import dill",
    "import marshal",
    "import torch; torch.load('a')",
    "import torch; torch.load('a', weights_only=True)",
    "import torch as t; t.load('a')",
    "from torch import load; load('a')",
    "import torch; read = torch.load",
    "import torch; torch.hub.load('a', 'b')",
    "read('a', weights_only=False)",
    "read('a', weights_only=trusted)",
    "import pandas as pd; pd.read_pickle('a')",
    "import numpy as np; np.load('a', allow_pickle=True)",
    "import yaml; yaml.load('a')",
    "import yaml; yaml.load('a', Loader=yaml.Loader)",
    "import yaml; yaml.load('a', yaml.FullLoader)",
    "from yaml import load, Loader; load('a', Loader)",
    "import yaml\nclass Own(yaml.Loader): pass",
    "import yaml; yaml.load_all('a')",
    "import yaml; yaml.unsafe_load('a')",
    "import yaml; yaml.full_load('a')",
    "eval('1')",
    "import builtins; builtins.eval('1')",
    "from builtins import eval as run",
    "exec('a = 1')",
    "run = exec",
    "__import__('os')",
    "import subprocess; subprocess.run('ls', shell=True)",
    "import subprocess; subprocess.run('ls', shell=True)  # noqa: S602",
    "import subprocess; subprocess.Popen('ls', shell=wanted)",
    "import os; os.system('ls')",
    "from os import popen; popen('ls')",
    "from subprocess import getoutput",
    "model.from_pretrained('a')",
    "model.from_pretrained('a', use_safetensors=False)",
]
SAFE = [
    "net.eval()",
    "import re, torch; re.compile('a'); torch.compile(net)",
    "import yaml; yaml.safe_load('a')",
    "import yaml\nclass Strict(yaml.SafeLoader): pass",
    "from yaml import CSafeLoader",
    "import json; json.load(file)",
    "import subprocess; subprocess.run(['ls'], shell=False)",
    "import numpy as np; np.load('a'); np.load('a', allow_pickle=False)",
    "import torch; torch.save({}, 'a')",
    "model.from_pretrained('a', use_safetensors=True)",
    "model.from_pretrained('a', **options)",
    "'eval(1)'  # exec",
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> set[str]:
    """The sources that are refused, of UNSAFE and SAFE."""
    folder = tmp_path_factory.mktemp("sources")
    sources = {f"{k}.py": source for k, source in enumerate(UNSAFE + SAFE)}
    for name, source in sources.items():
        (folder / name).write_text(source + "\n")
    by_ruff = refused_by_ruff(folder, ".")
    return {source for name, source in sources.items() if name in by_ruff or refused_by_us(source)}


@pytest.mark.parametrize("source", UNSAFE)
def test_every_such_call_is_found(refused, source):
    assert source in refused


@pytest.mark.parametrize("source", SAFE)
def test_what_only_looks_like_one_is_let_through(refused, source):
    assert source not in refused
