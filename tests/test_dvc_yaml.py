"""Every dvc.yaml names what a stage reads: no more, or an edit of a plot retrains; no less, or results go stale."""

import importlib
import itertools
from pathlib import Path

import pytest
import yaml
from deps import PIPELINES, import_graph, with_code

ROOT = Path(__file__).resolve().parents[1]
STAGES_OF = {str(path.relative_to(ROOT)): yaml.safe_load(path.read_text())["stages"] for path in PIPELINES}
SPINE = STAGES_OF["dvc.yaml"]
CHAPTERS = {name.split("/")[1]: stages for name, stages in STAGES_OF.items() if name != "dvc.yaml"}
STAGES = {name: stage for stages in STAGES_OF.values() for name, stage in stages.items()}
PARAMS = tuple(f"stages/params/{name}.py" for name in ("params", "file", "keys", "values", "rules"))
PARAMS_FILES = ("params.yaml", *(f"chapters/{chapter}/params.yaml" for chapter in CHAPTERS))
PAGES = {"report", *(f"{chapter}_page" for chapter in CHAPTERS)}
KEYS_OF_NO_STAGE = {"device", "processes", "checkpoint_seconds", "logger"}  # they change how a result is computed alone
OUTSIDE = {
    ("prepare", "${data.root}"),
    ("judge", "${judge.weights}"),
}  # what no stage writes: files that the user gives
ACROSS_CHAPTERS = {("baselines_page", "results/score/bits.csv")}  # the density of diffusion, beside that of the VAE
STUDIES = (
    "density",
    "exercises",
    "frontier",
    "larger",
    "lesson",
    "seeds",
    "stability",
)  # commands write these folders of reports


def code_dependencies(stage: dict) -> set[str]:
    """The Python files among the deps; a folder stands for all in it."""
    files = set()
    for dependency in stage["deps"]:
        path = ROOT / dependency
        files |= {str(p.relative_to(ROOT)) for p in path.rglob("*.py")} if path.is_dir() else {dependency}
    return {file for file in files if file.endswith(".py")}


def outputs(stage: dict) -> list[str]:
    entries = itertools.chain(*(stage.get(kind, []) for kind in ("outs", "metrics", "plots")))
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def params_of(stage: dict) -> set[str]:
    """The params that a stage depends on, as `key` of params.yaml or `file:key`; `file:` for a whole file."""
    found = set()
    for entry in stage["params"]:
        for file, keys in ({"params.yaml": [entry]} if isinstance(entry, str) else entry).items():
            prefix = "" if file == "params.yaml" and keys else f"{file}:"
            found |= {prefix + key for key in keys or [""]}
    return found


def lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def readers(path: str, stages: dict) -> set[str]:
    """The stages that depend on a file, on a folder that it is in, or on something in it."""
    return {n for n, s in stages.items() if any(lies_in(path, d) or lies_in(d, path) for d in s["deps"])}


def test_a_stage_depends_on_exactly_the_code_that_it_imports():
    """`make deps` mends it."""
    graph = import_graph()
    for path in PIPELINES:
        assert with_code(path.read_text(), graph) == path.read_text(), path


def test_a_stage_has_the_name_of_its_module_and_runs_in_the_root():
    assert len(STAGES) == sum(map(len, STAGES_OF.values()))
    for file, stages in STAGES_OF.items():
        for name, stage in stages.items():
            assert stage["cmd"].startswith(f"exec python -m stages.{name} ")  # no shell between DVC and the stage
            assert (ROOT / file).parent / stage.get("wdir", "") == ROOT or stage["wdir"] == "../.."


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_declared(name):
    """Paths stand in dvc.yaml alone; each is something that the stage reads, or where it writes something."""
    words = STAGES[name]["cmd"].split()
    paths = [value for flag, value in itertools.pairwise(words) if flag.startswith("--")]
    declared = [*STAGES[name]["deps"], *outputs(STAGES[name])]
    for path in paths:
        assert any(lies_in(d, path) or lies_in(path, d) for d in declared), path


def test_results_are_cached_and_only_the_pages_write_what_is_in_git():
    """A stage with an uncached output has no run-cache: DVC runs it again when one switches back to earlier params.

    The pages alone may: they take seconds.
    """
    for stage in (stage for name, stage in STAGES.items() if name not in PAGES):
        assert not {"metrics", "plots"} & stage.keys()
        assert all(out.startswith(("data/", "models/", "results/")) for out in stage["outs"])
    for name in PAGES:
        assert all(path.startswith("reports/") for path in outputs(STAGES[name]))
        entries = itertools.chain(*(STAGES[name].get(kind, []) for kind in ("outs", "metrics")))
        assert all(options == {"cache": False} for entry in entries for options in entry.values())


def test_a_page_publishes_the_results_of_its_own_stages():
    for stages in STAGES_OF.values():
        (page,) = PAGES & stages.keys()
        results = [path for stage in stages.values() for path in outputs(stage) if path.startswith("results/")]
        own = importlib.import_module(f"stages.{page}").STAGES
        assert [f"results/{name}" for name in own] == results
        assert {*results} <= {*stages[page]["deps"]}
        assert {f"reports/{name}" for name in own} <= {*outputs(stages[page])}


def test_the_spine_is_the_pipeline_of_eight_stages():
    assert list(SPINE) == ["prepare", "judge", "schedules", "train", "evaluate", "benchmark", "guidance", "report"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_change_of_a_chapter_reaches_the_spine_or_another_chapter(chapter):
    """Otherwise `dvc repro` in the root, or of another chapter, would run it."""
    others = {name: stage for name, stage in STAGES.items() if name not in CHAPTERS[chapter]}
    for output in itertools.chain(*map(outputs, CHAPTERS[chapter].values())):
        across = {name for name, path in ACROSS_CHAPTERS if lies_in(path, output)}
        assert readers(output, others) == across
    assert not {name for name, stage in others.items() if any(f"/{chapter}/" in param for param in params_of(stage))}


def test_everything_that_a_stage_reads_comes_from_the_data_the_spine_its_own_chapter_or_a_study():
    for stages in STAGES_OF.values():
        written = [output for stage in {**SPINE, **stages}.values() for output in outputs(stage)]
        written += [f"reports/{name}" for name in STUDIES]
        for name, stage in stages.items():
            for path in stage["deps"]:
                code_or_known = path.startswith(("src/", "stages/")) or (name, path) in {*ACROSS_CHAPTERS, *OUTSIDE}
                assert code_or_known or any(lies_in(w, path) or lies_in(path, w) for w in written), (name, path)


def test_files_that_the_user_gives_are_watched():
    assert all(path in SPINE[name]["deps"] for name, path in OUTSIDE)


@pytest.mark.parametrize("file", PARAMS_FILES)
def test_every_section_of_params_drives_a_stage(file):
    prefix = "" if file == "params.yaml" else f"{file}:"
    keys = {prefix + key for key in yaml.safe_load((ROOT / file).read_text())} - KEYS_OF_NO_STAGE
    used = set().union(*map(params_of, STAGES.values()))
    assert {param.split(".")[0] if not prefix else param for param in used} >= keys


def test_params_lists_stand_in_dvcs_own_style():
    """Any -S rewrites flow lists, so a run with nothing changed would leave git dirty."""
    values = [line.split("#")[0] for file in PARAMS_FILES for line in (ROOT / file).read_text().splitlines()]
    assert not any("[" in line for line in values)


@pytest.mark.parametrize(
    ("changed", "direct"),
    [
        ("device", set()),
        ("checkpoint_seconds", set()),
        ("logger", set()),
        ("schedule", {"train", "train_latent"}),
        ("timesteps", {"schedules", "train", "train_latent", "evaluate", "benchmark", "compare"}),
        ("train.learning_rate", {"train"}),
        ("train.early_share", {"train"}),
        ("guidance.scales", {"guidance"}),
        ("recommended.scale", {"evaluate"}),
        ("evaluate.num_samples", {"evaluate"}),
        ("sampling.sampler", {"evaluate"}),
        ("sampling.sampler_samples", {"evaluate", "score"}),
        ("sampling.ddim_steps", {"evaluate", "benchmark"}),
        ("benchmark.repeats", {"benchmark"}),
        ("judge.steps", {"judge"}),
        ("judge.extractor", {"judge"}),
        ("data.dataset", {"prepare", "captions"}),
        ("model.channels", {"train"}),
        ("chapters/score/params.yaml:score.log_snr_bins", {"score"}),
        ("chapters/latent/params.yaml:autoencoder.kl_weight", {"autoencoder"}),
        ("chapters/latent/params.yaml:captions.left_out", {"captions"}),
        ("chapters/latent/params.yaml:text.width", {"train_latent"}),
        ("chapters/latent/params.yaml:train_latent.steps", {"train_latent"}),
        ("chapters/latent/params.yaml:sample_latent.scales", {"sample_latent"}),
        ("chapters/baselines/params.yaml:vae.latent", {"vae"}),
        ("chapters/baselines/params.yaml:gan.r1_weight", {"gan"}),
        ("chapters/baselines/params.yaml:compare.repeats", {"compare"}),
    ],
)
def test_what_a_changed_param_reruns(changed, direct):
    """The direct ones; what depends on their outputs follows when those change."""
    stale = {
        name
        for name, stage in STAGES.items()
        if any(changed == param or changed.startswith(f"{param}.") for param in params_of(stage))
    }
    assert stale == direct


def test_a_page_shows_the_params_of_the_spine_and_of_its_chapter():
    assert params_of(SPINE["report"]) == {"params.yaml:"}
    for chapter, stages in CHAPTERS.items():
        assert params_of(stages[f"{chapter}_page"]) == {"params.yaml:", f"chapters/{chapter}/params.yaml:"}


@pytest.mark.parametrize(
    ("edited", "never"),
    [
        (
            "src/report/plots/style.py",
            {"prepare", "judge", "train", "vae", "gan", "evaluate", "benchmark", "guidance", "compare", "score"}
            | {"train_latent", "sample_latent"},
        ),
        ("src/report/plots/sheet.py", set(STAGES) - PAGES),
        ("src/report/plots/schedules.py", set(STAGES) - PAGES),
        ("src/diffusion/baselines/vae_net.py", set(STAGES) - {"vae", "compare"}),
        ("src/diffusion/likelihood/bounds.py", set(STAGES) - {"score"}),
        (
            "src/diffusion/quality/metrics.py",
            {"prepare", "train", "vae", "gan", "benchmark", "schedules", "autoencoder", "train_latent"},
        ),
        ("src/diffusion/latents/captions.py", {"train", "evaluate", "autoencoder", "compare"}),
        ("src/report/render.py", set(STAGES) - PAGES),
        (
            "src/diffusion/generation.py",
            {"prepare", "judge", "train", "vae", "gan", "schedules", "autoencoder", "train_latent"},
        ),
        ("src/diffusion/choices.py", set(STAGES) - PAGES),
        *(
            (f"src/diffusion/samplers/{family}.py", set(STAGES) - {"evaluate", "benchmark", "score"})
            for family in ("table", "multistep", "ode", "sde")
        ),
        *((path, set(STAGES)) for path in (*PARAMS, "stages/shared/plan.py", "stages/shared/loggers.py")),
    ],
)
def test_what_an_edit_never_reruns(edited, never):
    assert (ROOT / edited).is_file()
    assert not {name for name in never if edited in code_dependencies(STAGES[name])}
