"""dvc.yaml names what a stage really reads: no more, or an edit of a plot retrains; no less, or results go stale."""

import ast
import itertools
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = ("stages/params/params.py", "stages/params/file.py", "stages/params/keys.py", "stages/params/rules.py")
NOT_A_DEPENDENCY = {*PARAMS}  # they can only accept or refuse a run
SECTIONS_OF_NO_STAGE = {"device"}  # it changes where a result is computed, not what it is


def source_of(module: str) -> Path | None:
    """The file of one of our modules; None for a package (its __init__ changes no result) and for other people's."""
    folder = {"diffusion": "src/diffusion", "stages": "stages"}.get(module.split(".")[0])
    path = Path(folder, *module.split(".")[1:]).with_suffix(".py") if folder else Path("none")
    return path if (ROOT / path).is_file() else None


def imported_files(path: Path) -> set[Path]:
    """The files of ours that a file imports, at whatever depth in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {source_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {source_of(node.module), *(source_of(f"{node.module}.{alias.name}") for alias in node.names)}
    return found - {None}


def closure(path: Path) -> set[str]:
    """A file and all files of ours that it imports, directly or not."""
    known, new = set(), {path}
    while new:
        known |= new
        new = set().union(*map(imported_files, new)) - known
    return {str(p) for p in known} - NOT_A_DEPENDENCY


def code_dependencies(stage: dict) -> set[str]:
    """The Python files among the deps; a folder stands for all in it."""
    files = set()
    for dependency in stage.get("deps", []):
        path = ROOT / dependency
        files |= {str(p.relative_to(ROOT)) for p in path.rglob("*.py")} if path.is_dir() else {dependency}
    return {file for file in files if file.endswith(".py") and not file.endswith("__init__.py")}


def outputs(stage: dict) -> list[str]:
    entries = itertools.chain(*(stage.get(kind, []) for kind in ("outs", "metrics", "plots")))
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_it_imports(name):
    assert code_dependencies(STAGES[name]) == closure(Path(f"stages/{name}.py"))


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_declared(name):
    """Paths stand in dvc.yaml alone; each is something that the stage reads, or where it writes something."""
    words = STAGES[name]["cmd"].split()
    paths = [value for flag, value in itertools.pairwise(words) if flag.startswith("--")]
    declared = [*STAGES[name].get("deps", []), *outputs(STAGES[name])]
    for path in paths:
        assert any(d == path or d.startswith(path + "/") or path.startswith(d + "/") for d in declared), path


def test_small_results_are_in_git_without_switching_off_the_run_cache():
    """`cache: false` on an out (not on metrics or plots) makes DVC run the stage again when one switches back.

    The report alone may: it takes seconds.
    """
    for name, stage in STAGES.items():
        for entry in stage.get("outs", []):
            assert isinstance(entry, str) or name == "report", (name, entry)
        for kind in ("metrics", "plots"):
            assert all(options["cache"] is False for entry in stage.get(kind, []) for options in entry.values())


def test_every_section_of_params_drives_a_stage():
    params = set(yaml.safe_load((ROOT / "params.yaml").read_text()))
    used = {param.split(".")[0] for stage in STAGES.values() for param in stage.get("params", [])}
    assert used == params - SECTIONS_OF_NO_STAGE


def test_params_lists_stand_in_dvcs_own_style():
    """Any -S rewrites flow lists, so a run with nothing changed would leave git dirty."""
    values = (line.split("#")[0] for line in (ROOT / "params.yaml").read_text().splitlines())
    assert not any("[" in line for line in values)


@pytest.mark.parametrize(
    ("changed", "direct"),
    [
        ("schedule", {"train", "train_latent"}),
        ("timesteps", {"schedules", "train", "train_latent", "evaluate", "benchmark", "compare"}),
        ("train.learning_rate", {"train"}),
        ("guidance.scales", {"guidance"}),
        ("evaluate.num_samples", {"evaluate"}),
        ("evaluate.sampler_samples", {"evaluate", "score"}),
        ("score.stretches", {"score"}),
        ("evaluate.steps", {"evaluate", "benchmark"}),
        ("benchmark.repeats", {"benchmark"}),
        ("judge.steps", {"judge"}),
        ("data.dataset", {"prepare"}),
        ("model.channels", {"train"}),
        ("autoencoder.kl_weight", {"autoencoder"}),
        ("captions.left_out", {"captions"}),
        ("text.width", {"train_latent"}),
        ("sample_latent.scales", {"sample_latent"}),
        ("vae.latent", {"vae"}),
        ("gan.r1_weight", {"gan"}),
        ("compare.repeats", {"compare"}),
    ],
)
def test_what_a_changed_param_reruns(changed, direct):
    """The direct ones; what depends on their outputs follows when those change. The report shows every param."""
    stale = {
        name
        for name, stage in STAGES.items()
        if any(changed == param or changed.startswith(param + ".") for param in stage.get("params", []))
    }
    assert stale - {"report"} == direct


@pytest.mark.parametrize(
    ("edited", "never"),
    [
        (
            "src/report/plots/style.py",
            {"prepare", "judge", "train", "vae", "gan", "evaluate", "benchmark", "guidance", "compare", "score"}
            | {"train_latent", "sample_latent"},
        ),
        ("src/report/plots/sheet.py", set(STAGES) - {"report"}),
        ("src/report/plots/schedules.py", set(STAGES) - {"schedules"}),
        ("src/diffusion/baselines/vae_net.py", set(STAGES) - {"vae", "compare"}),
        ("src/diffusion/likelihood/bounds.py", set(STAGES) - {"score"}),
        (
            "src/diffusion/quality/metrics.py",
            {"prepare", "train", "vae", "gan", "benchmark", "schedules", "autoencoder", "train_latent"},
        ),
        ("src/diffusion/latents/captions.py", {"train", "evaluate", "autoencoder", "compare"}),
        ("src/report/builder.py", set(STAGES) - {"report"}),
        (
            "src/diffusion/generation.py",
            {"prepare", "judge", "train", "vae", "gan", "schedules", "autoencoder", "train_latent"},
        ),
        *(
            (f"src/diffusion/samplers/{family}.py", set(STAGES) - {"evaluate", "benchmark", "score"})
            for family in ("table", "multistep", "ode", "sde")
        ),
        *((path, set(STAGES)) for path in PARAMS),
    ],
)
def test_what_an_edit_never_reruns(edited, never):
    assert (ROOT / edited).is_file()
    assert not {name for name in never if edited in code_dependencies(STAGES[name])}
