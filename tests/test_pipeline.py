"""The pipeline under DVC, for real: what reruns, what comes back from the cache, what an error leaves behind.

All tests share one run of presets/smoke.args (conftest.py).
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from pipeline import ROOT, wait_until
from reproducible import differing, is_clock, locked, outputs
from test_checkpoint import with_its_digest
from test_dvc_yaml import CHAPTERS, PAGES, SPINE, STAGES
from test_failures import rewritten

from diffusion.tensors import load_tensors

FROM_TRAIN_ON = {"train", "evaluate", "benchmark", "guidance", "report"}
NEEDED = {  # by a chapter, besides its own stages
    "score": {"prepare", "judge", "train", "evaluate"},
    "latent": {"prepare", "judge", "train", "evaluate", "benchmark"},
    "baselines": {"prepare", "judge", "train", "score"},
}
KINDS = {".safetensors", ".csv", ".json", ".png", ".html", ".md", ".txt"}
DRAWN_FROM_CLOCKS = ("reports/index.html", "reports/README.md", "reports/figures/", "dvc.lock")
GO_BACK = "git restore reports '*dvc.lock' && dvc checkout --allow-missing"


def deterministic(changes):
    """The changed files that no clock excuses."""
    return [name for name in changes if not is_clock(name) and not name.startswith(DRAWN_FROM_CLOCKS)]


def test_everything_is_there_and_nothing_reruns(finished):
    lock = locked(finished)
    assert set(lock) == set(STAGES)
    missing = [o["path"] for s in lock.values() for o in s.get("outs", []) if not (finished.path / o["path"]).exists()]
    assert not missing
    assert not list(finished.path.glob("checkpoints/*"))  # training is done

    again = finished.dvc("repro", "--all-pipelines")
    assert not again.ran and not again.from_cache and not finished.changes()


def test_a_bare_repro_is_about_the_spine_alone(finished):
    assert set(finished.dvc("repro", "--force", "--dry").ran) == set(SPINE)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_with_what_it_needs_of_the_spine(finished, chapter):
    ran = finished.dvc("repro", "--force", "--dry", f"chapters/{chapter}/dvc.yaml").ran
    assert set(ran) == set(CHAPTERS[chapter]) | NEEDED[chapter]


def test_a_param_of_a_chapter_reruns_what_depends_on_it(repository):
    file = "chapters/latent/params.yaml"
    run = repository.dvc("exp", "run", "-S", f"{file}:sample_latent.num_steps=4", "chapters/latent/dvc.yaml")
    assert run.ran == ["sample_latent", "latent_page"]
    assert {file, "chapters/latent/dvc.lock", "reports/sample_latent/sheet_1.png"} <= set(repository.changes())


def test_a_preset_of_everything_is_one_of_the_spine_too(repository):
    preset = (ROOT / "presets" / "smoke.args").read_text().split()
    run = repository.dvc("exp", "run", *preset)
    assert not run.ran and not repository.changes()


EDITS = {  # of a file, and the stages that it makes stale at most
    "src/report/templates/page.html.j2": PAGES,
    "src/report/plots/style.py": PAGES,
    "src/diffusion/quality/metrics.py": (
        {"judge", "schedules", "evaluate", "guidance", "sample_latent", "score", "compare"}
    ),
    "src/diffusion/nets/unet.py": (
        {"autoencoder", "vae", "gan", "train_latent", "sample_latent", "score", "compare", *FROM_TRAIN_ON}
    ),
    "src/diffusion/latents/captions.py": {"captions", "train_latent", "sample_latent"},
    "src/diffusion/baselines/vae.py": {"vae", "compare"},
    "stages/params/params.py": set(),
}


def test_what_an_edit_reruns_at_most(finished):
    """The stages that an edit itself makes stale: what follows does so only if their outputs change."""
    before = {name: (finished.path / name).read_bytes() for name in EDITS}
    try:
        for name, content in before.items():
            (finished.path / name).write_bytes(content + b"\n")
        status = json.loads(finished.dvc("status", "--json").output)
    finally:
        for name, content in before.items():
            (finished.path / name).write_bytes(content)
    stale = {name: set() for name in EDITS}
    for stage, changes in status.items():
        for dependency in {path for change in changes for path in change["changed deps"]}:
            for name in EDITS:
                if name == dependency or name.startswith(f"{dependency}/"):
                    stale[name].add(stage.rpartition(":")[2])
    for name, at_most in EDITS.items():
        assert stale[name] <= at_most and bool(stale[name]) == bool(at_most), (name, stale[name])


def test_what_a_kill_leaves_of_a_file_in_hand_is_no_change(finished):
    """Neither for git nor for DVC, although the report depends on the whole folder."""
    left = [finished.path / name for name in ("results/train/history.csv.partial", "models/judges/.tmpAbC")]
    for path in left:
        path.write_text("step,loss\n")
    try:
        assert not finished.dvc("repro", "--dry").ran and not finished.changes()
    finally:
        for path in left:
            path.unlink()


def test_another_schedule_there_and_back(repository):
    """In a copy first: the workspace, where somebody may be at work, is not touched, and then has it in its cache."""
    elsewhere = repository.dvc("exp", "run", "-S", "schedule=cosine", "--temp", "--name", "elsewhere")
    assert set(elsewhere.ran) == FROM_TRAIN_ON and not repository.changes()

    here = repository.dvc("exp", "run", "-S", "schedule=cosine", "--name", "here")
    assert set(here.ran) <= {"report"} and FROM_TRAIN_ON - {"report"} <= set(here.from_cache)
    assert "reports/evaluate/metrics.json" in repository.changes()
    assert "cosine" in load_tensors(repository.path / "models/denoiser.safetensors")[1]["schedule"]
    difference = json.loads(repository.dvc("metrics", "diff", "--json").output)
    assert "kid" in difference["reports/metrics.json"]

    repository.set_param("schedule", "linear")
    back = repository.dvc("repro")
    assert set(back.ran) <= {"report"} and FROM_TRAIN_ON - {"report"} <= set(back.from_cache)
    assert not repository.changes()

    table = repository.dvc("exp", "show", "--csv").output
    assert "elsewhere" in table and "here" in table and "cosine" in table
    repository.dvc("plots", "show", "-o", "plots_html")
    assert (repository.path / "plots_html" / "index.html").stat().st_size and not repository.changes()


def answer_of_queue(repository, *words):
    """What `dvc queue` says, asked again where it read a message of its workers that was half written, and failed."""
    answers = []

    def answered():
        try:
            answers.append(repository.dvc("queue", *words))
        except AssertionError as failure:
            assert "Expecting value" in str(failure), failure
        return answers

    wait_until(answered, f"dvc queue {words[0]}", every=1)
    return answers[0]


def test_a_queue_runs_the_code_that_was_queued(repository):
    """A sweep of guidance scales, two at a time: guidance and report alone, by the copy's own library.

    Without stages/__init__.py, an installed library (here: the workspace's, edited since) would be imported instead.
    """
    repository.dvc("exp", "run", "--queue", "-S", "guidance.scales=[0.0,1.0],[3.0]")
    sampler = repository.path / "src/diffusion/samplers/ddim.py"
    sampler.write_text("raise RuntimeError('the code of the workspace')\n" + sampler.read_text())
    try:
        repository.dvc("queue", "start", "-j", "2", PYTHONPATH=str(repository.path / "src"))
        states = []

        def done():
            lines = answer_of_queue(repository, "status").output.splitlines()
            states[:] = [line.split() for line in lines if {"Queued", "Running", "Success", "Failed"} & {*line.split()}]
            return not any({"Queued", "Running"} & {*state} for state in states)

        wait_until(done, "the queue", every=3)  # every question takes seconds from those who work
        logs = [answer_of_queue(repository, "logs", state[0]) for state in states]
    finally:
        answer_of_queue(repository, "stop", "--kill")
    assert ["Success" in state for state in states] == [True, True], logs
    assert [log.ran for log in logs] == [["guidance", "report"]] * 2, logs


def test_a_clone_without_cache_draws_the_page_anew(finished, tmp_path):
    """By hand, from what is published: DVC runs no stage whose results are missing."""
    clone = finished.clone(tmp_path / "clone")
    assert not (clone.path / "results").exists()
    template = clone.path / "src/report/templates/page.html.j2"
    template.write_text(template.read_text() + "<!-- mended -->\n")
    clone.run("python", "-m", "stages.report", "--results", "results", "--reports", "reports", PYTHONPATH="src")
    assert "<!-- mended -->" in (clone.path / "reports/index.html").read_text()
    assert {*clone.changes()} == {"reports/index.html", "src/report/templates/page.html.j2"}


def checkpoint_in(repository, **than):
    """The last checkpoint of the training under way, newer than a given time; None where there is none."""
    for path in sorted(repository.path.glob("checkpoints/*/*.safetensors"), reverse=True):
        if path.stat().st_mtime_ns > than.get("newer", 0):
            return path
    return None


def is_locked(path):
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# A training that stands still behind every checkpoint cannot outrun the test that wants to interrupt it, nor its own
# watch for the end of DVC.
STOP_BEHIND_EVERY_CHECKPOINT = """
import os, signal
replace, parent = os.replace, os.getppid()

def replace_and_stop(source, target):
    replace(source, target)
    if "/checkpoints/" in str(target) and str(target).endswith(".safetensors"):
        os.kill(os.getpid(), signal.SIGSTOP)
        if os.getppid() != parent:
            signal.pause()

os.replace = replace_and_stop
"""


def test_an_interrupted_training_goes_on_and_ends_with_the_same_bytes(finished, tmp_path):
    """A clone has no cache, so it trains again; it is killed twice on the way. No stage reruns for more checkpoints.

    First everything at once (power cut), then DVC alone (out of memory): the training must not live on without it.
    """
    clone = finished.clone(tmp_path / "clone")
    clone.set_param("checkpoint_seconds", 0)
    clone.commit("A checkpoint at every step")
    (tmp_path / "sitecustomize.py").write_text(STOP_BEHIND_EVERY_CHECKPOINT)

    def start():
        return subprocess.Popen(
            ["dvc", "repro", "train"],
            cwd=clone.path,
            env=clone.environment() | {"PYTHONPATH": str(tmp_path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    started = start()
    try:
        wait_until(lambda: checkpoint_in(clone) or started.poll() is not None, "the first checkpoint")
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    first = checkpoint_in(clone)
    assert first.name.startswith("00000001.") and not (clone.path / "models/denoiser.safetensors").exists()
    rewritten(first, lambda description: description | {"seconds": 1000.0})  # only a resumed training carries this on
    first = with_its_digest(first)

    started, marked = start(), first.stat().st_mtime_ns
    try:
        wait_until(lambda: checkpoint_in(clone, newer=marked) or started.poll() is not None, "the next checkpoint")
        started.kill()
        started.wait()

        def ended():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGCONT)
            return not is_locked(first.with_name("lock"))

        wait_until(ended, "the end of a training without DVC")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    last = checkpoint_in(clone)
    assert last.name.startswith("00000002.") and load_tensors(last)[1]["seconds"] > 1000
    assert not (clone.path / "models/denoiser.safetensors").exists()

    assert clone.dvc("repro", "train").ran == ["train"]
    assert yaml.safe_load((clone.path / "results/train/timing.json").read_text())["seconds"] > 1000
    assert clone.changes() == ["dvc.lock"]
    assert not list(clone.path.glob("checkpoints/*"))
    model = "models/denoiser.safetensors"
    assert (clone.path / model).read_bytes() == (finished.path / model).read_bytes()


def test_two_runs_from_nothing_give_the_same_bytes(finished, again):
    assert len(outputs(finished)) > 100 and {Path(name).suffix for name in outputs(finished)} >= KINDS
    assert not differing(finished, again)


def test_a_full_disk_leaves_the_lock_and_a_way_back(repository):
    lock = (repository.path / "dvc.lock").read_bytes()
    (repository.path / "reports/index.html.partial").symlink_to("/dev/full")
    refused = repository.dvc("exp", "run", "-S", "checkpoint_seconds=60", fails=True)  # a param that the page shows
    (line,) = [line for line in refused.output.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: reports/index.html: No space left on device (") and line.endswith(GO_BACK)
    assert "Traceback" not in refused.output and refused.ran == ["report"]
    assert (repository.path / "dvc.lock").read_bytes() == lock

    repository.run("sh", "-c", GO_BACK)  # brings all results back, and leaves the param that was asked for as it is
    assert repository.changes() == ["params.yaml"]
    repository.git("restore", "params.yaml")
    assert not repository.dvc("status", "--quiet").output


def chunks(png):
    """The names of the chunks that a PNG is made of: its text and times would be tEXt, zTXt, iTXt, eXIf and tIME."""
    content, at = png.read_bytes(), 8
    while at < len(content):
        yield content[at + 4 : at + 8]
        at += 12 + int.from_bytes(content[at : at + 4], "big")


def test_pictures_carry_no_dates_and_no_versions(finished):
    pictures = [finished.path / name for name in outputs(finished) if name.endswith(".png")]
    assert len(pictures) > 40
    for picture in pictures:
        assert {*chunks(picture)} <= {b"IHDR", b"PLTE", b"tRNS", b"pHYs", b"IDAT", b"IEND"}, picture


REFUSED = {
    "train.steps=0": "params.yaml: train.steps: 0 is not possible (Input should be greater than or equal to 1)",
    "schedule=typo": "params.yaml: schedule: 'typo' is not possible (allowed: 'linear', 'linear_unscaled', 'cosine'",
    "guidance.num_steps=51": "params.yaml: guidance.num_steps: 51 is not possible (allowed: 1 to timesteps = 50)",
}


def test_a_wrong_param_is_refused_in_one_line(repository):
    lock = (repository.path / "dvc.lock").read_bytes()
    for override, message in REFUSED.items():
        refused = repository.dvc("exp", "run", "-S", override, fails=True)
        (line,) = [line for line in refused.output.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: {message}") and line.endswith(GO_BACK)
        assert "Traceback" not in refused.output and len(refused.ran) == 1
        assert (repository.path / "dvc.lock").read_bytes() == lock
        repository.run("sh", "-c", GO_BACK)
        assert repository.changes() == ["params.yaml"]
        repository.git("restore", "params.yaml")
