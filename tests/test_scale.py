"""What docs/scale.md says of a DVC remote is true."""

import pytest
from pipeline import Repository

PIPELINE = """stages:
  train:
    cmd: mkdir -p results/train && cp params.yaml models.txt && echo 1 > results/train/history.csv
    params: [seed]
    outs: [models.txt, results/train]
  report:
    cmd: mkdir -p reports && cp results/train/history.csv reports/page.csv
    deps: [results/train]
    outs:
    - reports/page.csv: {cache: false}
"""


@pytest.fixture
def pushed(tmp_path) -> Repository:
    """A run of a small pipeline, and of the same with another seed, pushed to a remote in a folder."""
    path = tmp_path / "repository"
    path.mkdir()
    (path / "dvc.yaml").write_text(PIPELINE)
    (path / "params.yaml").write_text("seed: 0\n")
    repository = Repository(path)
    repository.git("init", "--quiet")
    repository.as_committer().dvc("init", "--quiet")
    repository.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    for seed in (1, 0):
        repository.set_param("seed", seed)
        repository.dvc("repro")
        repository.dvc("push", "--run-cache")  # the outputs of the current run alone, and the run-cache
    repository.commit("A run")
    return repository


def test_nothing_reruns_in_a_clone_that_pulled_from_a_remote(pushed, tmp_path):
    clone = pushed.clone(tmp_path / "clone")
    clone.dvc("pull", "--run-cache")
    assert clone.dvc("repro").ran == [] and not clone.changes()
    clone.set_param("seed", 1)
    again = clone.dvc("repro", "--pull")
    assert again.from_cache == ["train"] and again.ran == [], again.output
    assert (clone.path / "models.txt").read_text() == "seed: 1\n"
