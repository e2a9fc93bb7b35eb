"""`make deps`: write the code that every stage imports into the `deps` of every dvc.yaml, from the import graph.

The validation of params only accepts or refuses a run, `plan` only says how far one is, `together` only starts
processes, and `loggers` only repeat what a training has measured, so no stage depends on them, nor on what they alone
import. A folder among the deps stands for all the code in it.
"""

import re
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"diffusion": "src/diffusion", "report": "src/report", "stages": "stages"}
PIPELINES = [ROOT / "dvc.yaml", *sorted(ROOT.glob("chapters/*/dvc.yaml"))]
NO_DEPENDENCY = ("stages.params", *(f"stages.shared.{name}" for name in ("plan", "together", "loggers")))
STAGE = re.compile(r"^  (\w+):\n(?:    .*\n|\n|  +#.*\n)*", re.MULTILINE)
DEPS = re.compile(r"^    deps:\n((?:    - .*\n)+)", re.MULTILINE)


def import_graph() -> grimp.ImportGraph:
    """Who imports whom in this checkout, without what changes no result."""
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    for package in NO_DEPENDENCY:
        for module in {package, *graph.find_descendants(package)}:
            graph.remove_module(module)
    return graph


def source_of(module: str) -> str | None:
    """The file of a module, relative to the checkout; None for a package, whose __init__ changes no result."""
    package, *rest = module.split(".")
    path = "/".join([PACKAGES[package], *rest]) + ".py"
    return path if (ROOT / path).is_file() else None


def code_of(graph: grimp.ImportGraph, module: str) -> list[str]:
    """The files that a stage runs: its own and all that it imports, directly or not."""
    return sorted(filter(None, map(source_of, {module, *graph.find_upstream_modules(module)})))


def with_code(text: str, graph: grimp.ImportGraph) -> str:
    """A dvc.yaml with the code of every stage in front of its other deps."""

    def stage_with_code(stage: re.Match[str]) -> str:
        module = re.search(r"python -m (stages\.\w+)", stage[0])
        assert module, f"stage {stage[1]} runs no module of stages"
        found = DEPS.search(stage[0])
        assert found, f"stage {stage[1]} has no deps"
        listed = [line.removeprefix("    - ") for line in found[1].splitlines()]
        others = [path for path in listed if not path.endswith(".py")]
        folders = tuple(f"{path}/" for path in others)
        code = [path for path in code_of(graph, module[1]) if not path.startswith(folders)]
        deps = "".join(f"    - {path}\n" for path in [*code, *others])
        return stage[0].replace(found[0], f"    deps:\n{deps}")

    return STAGE.sub(stage_with_code, text)


def main() -> None:
    """Rewrite every dvc.yaml whose lists are out of date, and say which."""
    graph = import_graph()
    for path in PIPELINES:
        before = path.read_text()
        after = with_code(before, graph)
        if after != before:
            path.write_text(after)
        print(f"{path.relative_to(ROOT)}: {'up to date' if after == before else 'rewritten'}")


if __name__ == "__main__":
    main()
