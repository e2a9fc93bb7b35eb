"""What a stage says of the pipeline around it: a folder with a dvc.yaml, its lock, and what the stages wrote."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pipeline import ROOT
from test_dvc_yaml import STAGES, STAGES_OF, lies_in
from test_dvc_yaml import outputs as outputs_of

from stages.shared import plan

CHAIN = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["out/c"]}  # stage: what it reads


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A pipeline that is done, with a params file of one key per stage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(plan, "DEFAULT_SECONDS", {"a": 10, "b": 20, "c": 40, "d": 80, "e": 160})
    reads = {name: [path if "/" in path else f"out/{path}" for path in paths] for name, paths in CHAIN.items()}
    stages = {
        name: {"cmd": name, "desc": f"Make {name}", "params": [name], "deps": reads[name], "outs": [f"out/{name}"]}
        for name in CHAIN
    }
    lock = {
        name: {
            "params": {"params.yaml": {name: 1}},
            "deps": [{"path": path, "md5": f"of {path}"} for path in reads[name]],
            "outs": [{"path": f"out/{name}", "md5": f"of out/{name}"}],
        }
        for name in CHAIN
    }
    write("dvc.yaml", {"stages": stages})
    write("dvc.lock", {"schema": "2.0", "stages": lock})
    write("params.yaml", dict.fromkeys(CHAIN, 1))
    for name in CHAIN:
        Path("out", name).mkdir(parents=True)
    return tmp_path


def write(name, content):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))


def change(name, edit):
    content = yaml.safe_load(Path(name).read_text())
    edit(content)
    write(name, content)


def remember(text):
    Path(".dvc/tmp").mkdir(parents=True, exist_ok=True)
    Path(".dvc/tmp/stage_seconds.json").write_text(text)


def of(name):
    """The announcement without the description."""
    text, desc = plan.announcement(name).rsplit(": ", 1)
    assert desc == f"Make {name}"
    return text


def test_left_is_the_stage_and_all_that_reads_of_it(folder):
    assert of("a") == "stage 1 of 5: a (about 10 s; all done in about 5 min)"
    assert of("b") == "stage 4 of 5: b (about 20 s; all done in about 2 min)"
    assert of("c") == "stage 3 of 5: c (about 40 s; all done in about 5 min)"
    assert of("e") == "stage 5 of 5: e (about 3 min)"


def test_left_is_also_what_has_other_params_or_inputs_or_no_output_or_never_ran(folder):
    assert of("d") == "stage 5 of 5: d (about 80 s)"
    Path("out/e").rmdir()
    assert of("d") == "stage 4 of 5: d (about 80 s; all done in about 4 min)"
    change("dvc.lock", lambda lock: lock["stages"]["c"]["outs"][0].update(md5="another"))
    Path("out/e").mkdir()
    assert of("d") == "stage 4 of 5: d (about 80 s; all done in about 4 min)"
    change("dvc.lock", lambda lock: lock["stages"].pop("e"))
    assert of("d").startswith("stage 4 of 5: d (about 80 s")


def test_a_stage_with_other_params_takes_nobody_knows_how_long(folder):
    change("params.yaml", lambda params: params.update(d=2))
    assert of("b") == "stage 4 of 5: b (about 20 s)"
    assert of("d") == "stage 5 of 5: d"
    remember('{"d": 7.2}')
    assert of("d") == "stage 5 of 5: d (about 5 s)"


def test_this_machine_counts_more_than_the_table_and_gives_its_pace(folder):
    remember('{"a": 20.0, "b": 40.0, "other": 1.0}')
    assert of("c") == "stage 3 of 5: c (about 80 s; all done in about 9 min)"
    assert of("b") == "stage 4 of 5: b (about 40 s; all done in about 3 min)"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "long"}', '{"a": null}'])
def test_a_memory_that_cannot_be_read_is_none(folder, text):
    remember(text)
    assert plan.remembered() == {} and of("a") == "stage 1 of 5: a (about 10 s; all done in about 5 min)"


def test_what_is_not_known_is_not_said(folder, monkeypatch):
    monkeypatch.setattr(plan, "DEFAULT_SECONDS", {"a": 10})
    assert of("a") == "stage 1 of 5: a (about 10 s)"
    Path("dvc.lock").unlink()
    assert of("c") == "stage 1 of 5: c"


def test_the_stages_of_a_chapter_are_counted_by_themselves(folder):
    stages = {name: {"desc": f"Make {name}", "deps": deps} for name, deps in {"x": ["out/a"], "y": ["out/x"]}.items()}
    stages["x"]["outs"] = ["out/x"]
    write("chapters/one/dvc.yaml", {"stages": stages})
    assert of("x") == "stage 1 of 2: x"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "5 s"), (43, "45 s"), (90, "90 s"), (100, "2 min"), (3000, "50 min"), (6000, "1.7 h")],
)
def test_times_are_rounded(seconds, text):
    assert plan.rounded(seconds) == text


def test_a_stage_of_dvc_announces_itself_and_is_remembered_if_it_ends_well(folder, monkeypatch, capsys):
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:c")
    with pytest.raises(ValueError), plan.announced():
        raise ValueError
    assert capsys.readouterr().err.startswith("stage 3 of 5: c (") and plan.remembered() == {}
    remember('{"a": 3.0}')
    with plan.announced():
        pass
    assert plan.remembered().keys() == {"a", "c"}


def test_a_stage_that_ends_well_says_what_can_be_looked_at(folder, monkeypatch, capsys):
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:c")
    monkeypatch.setattr(plan, "FIRST_PICTURES", {"c": "out/c/samples.png"})
    with pytest.raises(ValueError), plan.announced():
        raise ValueError
    assert "samples.png" not in capsys.readouterr().err
    with plan.announced():
        pass
    assert capsys.readouterr().err.endswith("\nc: samples to look at are in out/c/samples.png\n")


@pytest.mark.parametrize("broken", ["dvc.yaml", "dvc.lock", "params.yaml"])
def test_nothing_that_cannot_be_read_stops_a_stage(folder, monkeypatch, capsys, broken):
    monkeypatch.setenv("DVC_STAGE", "c")
    for text in ("stages: [", "stages: 5", "other: {}", "stages: {c: 5}"):
        Path(broken).write_text(text)
        with plan.announced():
            pass
    assert not capsys.readouterr().err and json.loads(Path(".dvc/tmp/stage_seconds.json").read_text())["c"] > 0


def test_a_stage_started_by_hand_says_and_remembers_nothing(folder, monkeypatch, capsys):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with plan.announced():
        pass
    assert not capsys.readouterr().err and not Path(".dvc").exists()


def test_the_real_pipelines_can_be_planned(monkeypatch, tmp_path):
    """Every stage, its description, the lock, and a table of stages that exist; none reads of a later one."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name, stage in STAGES.items():
        assert plan.announcement(name).endswith(f": {stage['desc']}")
    assert STAGES.keys() >= plan.DEFAULT_SECONDS.keys()
    for name, picture in plan.FIRST_PICTURES.items():
        assert any(lies_in(picture, output) for output in outputs_of(STAGES[name]))
    for stages in STAGES_OF.values():
        names = list(stages)
        for place, name in enumerate(names):
            later = [path for other in names[place:] for path in outputs_of(stages[other])]
            assert not [d for d in stages[name]["deps"] if any(lies_in(d, p) or lies_in(p, d) for p in later)]


def test_planning_does_not_import_torch():
    code = "import sys, stages.shared.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
