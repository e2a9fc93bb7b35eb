"""The one run of the pipeline that all tests of DVC share."""

import pytest
from pipeline import Repository, smoke_run, working_tree


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Repository:
    """The repository after the smoke run: for tests that leave it as it is."""
    repository = working_tree(tmp_path_factory.mktemp("pipeline") / "repository")
    smoke_run(repository)
    return repository


@pytest.fixture
def repository(finished):
    """The same, for tests that change it: it is brought back behind them."""
    yield finished
    finished.go_back()
