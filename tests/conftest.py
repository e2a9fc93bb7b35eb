"""What tests share: the one run of the pipeline, the browser that they look with, and the one server of processes."""

import multiprocessing
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from pipeline import ROOT, Repository, smoke_run, working_tree
from run_reports import HOSTILE, STUDIES, adopt_studies, build_all, enlarge, params_of, rename_classes, run_reports


@pytest.fixture(scope="session")
def smoke_runs(request, tmp_path_factory) -> list[Repository]:
    """The smoke run from nothing; and beside it, on the other core, the same again for a test that compares two."""
    runs = [working_tree(tmp_path_factory.mktemp("pipeline") / "repository")]
    if any("again" in item.fixturenames for item in request.session.items):
        runs.append(runs[0].clone(tmp_path_factory.mktemp("again") / "repository"))
    with ThreadPoolExecutor() as pool:
        list(pool.map(smoke_run, runs))
    return runs


@pytest.fixture(scope="session")
def finished(smoke_runs) -> Repository:
    """The repository after the smoke run: for tests that leave it as it is."""
    return smoke_runs[0]


@pytest.fixture(scope="session")
def again(smoke_runs) -> Repository:
    """Another repository after the same run."""
    return smoke_runs[1]


@pytest.fixture
def repository(finished):
    """The same, for tests that change it: it is brought back behind them."""
    yield finished
    finished.go_back()


@pytest.fixture(scope="session")
def page_params(finished) -> dict[str, dict]:
    """The params of every page of the smoke run."""
    return params_of(finished.path)


@pytest.fixture(scope="session")
def built(finished, page_params, tmp_path_factory) -> Path:
    """The smoke run's reports with the figures of a larger run and studies of their data, and their four pages."""
    folder = run_reports(finished.path, tmp_path_factory.mktemp("built") / "reports")
    enlarge(folder)
    adopt_studies(folder)
    build_all(folder, page_params)
    return folder


@pytest.fixture(scope="session")
def odd(finished, page_params, tmp_path_factory) -> Path:
    """The smoke run's reports with hostile names of classes, too few samples for an FID, and no studies."""
    folder = run_reports(finished.path, tmp_path_factory.mktemp("odd") / "reports")
    rename_classes(folder, HOSTILE)
    for study in STUDIES:
        shutil.rmtree(folder / study)
    params = {name: content | {"data": content["data"] | {"root": HOSTILE[2]}} for name, content in page_params.items()}
    build_all(folder, params)
    return folder


@pytest.fixture(scope="session")
def server():
    """Where processes are forked from: it has imported everything, and Python has one of its kind."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["test_interruptions", "test_processes", "torch._dynamo", "torch.distributed.launcher.api"]
    )
    before = dict(os.environ)
    paths = os.pathsep.join(map(str, [ROOT / "tests", ROOT / "src", ROOT]))
    os.environ.update(PYTHONPATH=paths, OMP_NUM_THREADS="1", TORCH_CPP_LOG_LEVEL="FATAL")
    context.Process(target=int).start()
    os.environ.clear()
    os.environ.update(before)
    return context


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    """So many threads of PyTorch's, and lanes."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, without a network."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from benchmarks.playground import CHROMIUM, OPTIONS

    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Opens the page at a width and colour scheme; messages and requests gather in `page.heard` and `page.asked`."""
    contexts = []

    def open_page(width: int, scheme: str = "light", address: str = address):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
        )
        page = contexts[-1].new_page()
        page.heard, page.asked = [], []
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
