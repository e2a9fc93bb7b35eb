"""Nothing is unpickled, evaluated or handed to a shell: a look at the syntax of all code of this project."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "stages", "benchmarks", "tests")
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILTINS = {"eval", "exec", "__import__"}
CALLS = {"torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "pandas.read_pickle"}
CALLS |= {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
CALLS |= {f"yaml.{name}" for name in ("unsafe_load", "unsafe_load_all", "full_load", "full_load_all")}
LOADERS = {"yaml.load", "yaml.load_all"}  # safe with one of
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader"}
MUST_BE = {"shell": False, "allow_pickle": False, "weights_only": True, "use_safetensors": True}  # where they are given
BOMBS = {  # what tests write so that the code refuses it
    "tests/test_data.py": {"pickle", "exec"},
}


def unsafe(source: str) -> set[str]:
    """Names of what a file imports, uses or calls and must not."""
    tree = ast.parse(source)
    names = dict(imported(tree))
    safe_loaders = SAFE_LOADERS | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(dotted(base, names) in SAFE_LOADERS for base in node.bases)
    }
    forbidden = CALLS | BUILTINS | {f"builtins.{name}" for name in BUILTINS}
    found = {name for name in names.values() if name.split(".")[0] in UNPICKLERS or name in forbidden}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            found |= {dotted(node, names)} & forbidden
        elif isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            name = dotted(node.func, names)
            loader = node.args[1] if len(node.args) > 1 else given.get("Loader")
            if name in LOADERS and (loader is None or dotted(loader, names) not in safe_loaders):
                found.add(name)
            found |= {key for key, value in MUST_BE.items() if key in given and constant(given[key]) is not value}
            if name.endswith("from_pretrained") and {"use_safetensors", None}.isdisjoint(given):
                found.add(name)
    return found


def imported(tree: ast.Module) -> list[tuple[str, str]]:
    """The name that every import binds, and what it stands for."""
    pairs = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            pairs += [(a.asname, a.name) if a.asname else (a.name.split(".")[0],) * 2 for a in node.names]
            pairs += [(f"import {a.name}", a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            pairs += [(a.asname or a.name, f"{node.module}.{a.name}") for a in node.names]
    return pairs


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`t.load` after `import torch as t` is torch.load; what hangs on anything but a name keeps its last part."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


FILES = [path.relative_to(ROOT) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_holds_a_call_that_runs_what_it_reads(path):
    assert unsafe((ROOT / path).read_text(encoding="utf-8")) == BOMBS.get(str(path), set())


def test_all_code_is_looked_at():
    assert {str(path.parts[0]) for path in FILES} == set(FOLDERS) and len(FILES) > 100


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("pickle", "import pickle"),
        ("pickle", "import pickle as p; p.loads(b'')"),
        ("pickle.loads", "from pickle import loads"),
        ("pickle", "def f():\n    import pickle"),
        ("joblib", "import joblib"),
        ("joblib.load", "from joblib import load as fetch"),
        ("dill", "import dill"),
        ("marshal", "import marshal"),
        ("torch.load", "import torch; torch.load('a')"),
        ("torch.load", "import torch; torch.load('a', weights_only=True)"),
        ("torch.load", "import torch as t; t.load('a')"),
        ("torch.load", "from torch import load; load('a')"),
        ("torch.load", "import torch; read = torch.load"),
        ("weights_only", "read('a', weights_only=False)"),
        ("weights_only", "read('a', weights_only=trusted)"),
        ("pandas.read_pickle", "import pandas as pd; pd.read_pickle('a')"),
        ("allow_pickle", "import numpy as np; np.load('a', allow_pickle=True)"),
        ("yaml.load", "import yaml; yaml.load('a')"),
        ("yaml.load", "import yaml; yaml.load('a', Loader=yaml.Loader)"),
        ("yaml.load", "import yaml; yaml.load('a', yaml.FullLoader)"),
        ("yaml.load", "from yaml import load, Loader; load('a', Loader)"),
        ("yaml.load", "import yaml\nclass Own(yaml.Loader): pass\nyaml.load('a', Own)"),
        ("yaml.load_all", "import yaml; yaml.load_all('a')"),
        ("yaml.unsafe_load", "import yaml; yaml.unsafe_load('a')"),
        ("yaml.full_load", "import yaml; yaml.full_load('a')"),
        ("eval", "eval('1')"),
        ("eval", "import builtins; builtins.eval('1')"),
        ("eval", "from builtins import eval as run"),
        ("exec", "exec('a = 1')"),
        ("exec", "run = exec"),
        ("__import__", "__import__('os')"),
        ("shell", "import subprocess; subprocess.run('ls', shell=True)"),
        ("shell", "import subprocess; subprocess.Popen('ls', shell=wanted)"),
        ("os.system", "import os; os.system('ls')"),
        ("os.popen", "from os import popen; popen('ls')"),
        ("subprocess.getoutput", "from subprocess import getoutput"),
        ("model.from_pretrained", "model.from_pretrained('a')"),
        ("use_safetensors", "model.from_pretrained('a', use_safetensors=False)"),
    ],
)
def test_every_such_call_is_found(name, source):
    assert name in {found.removeprefix("builtins.") for found in unsafe(source)}


@pytest.mark.parametrize(
    "source",
    [
        "net.eval()",
        "import re, torch; re.compile('a'); torch.compile(net)",
        "import yaml; yaml.safe_load('a')",
        "import yaml; yaml.load('a', Loader=yaml.SafeLoader)",
        "import yaml\nclass Strict(yaml.SafeLoader): pass\nyaml.load('a', Strict)",
        "from yaml import CSafeLoader, load; load('a', CSafeLoader)",
        "import json; json.load(file)",
        "import subprocess; subprocess.run(['ls'], shell=False)",
        "import numpy as np; np.load('a'); np.load('a', allow_pickle=False)",
        "import torch; torch.save({}, 'a')",
        "model.from_pretrained('a', use_safetensors=True)",
        "model.from_pretrained('a', **options)",
        "'eval(1)'  # exec",
    ],
)
def test_what_only_looks_like_one_is_let_through(source):
    assert unsafe(source) == set()
