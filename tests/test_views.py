"""DVC's own views of the smoke run: figures on one screen, an experiment beside the run it differs from, plots."""

import json
import re
from collections import Counter

import pandas as pd
import pytest

MOST_FIGURES = 15
WIDTH = 100  # characters of a terminal
PICTURES = {"recommended", "unguided", "nearest", "samplers", "sheet"}  # in the spine's reports
CURVES = {"loss", "alpha_bar", "log_snr", "recognisability", "quality", "guidance", "confusion"}
CHAPTERS_CURVES = {"score_error", "latent_loss", "prompts", "baselines_loss"}


@pytest.fixture(scope="module")
def drawn(finished, tmp_path_factory) -> dict[str, list[dict]]:
    """What `dvc plots show` draws: by a plot's name its Vega specifications, with their data, or its pictures."""
    folder = tmp_path_factory.mktemp("plots")
    shown = finished.dvc("plots", "show", "--json", "--out", str(folder)).output
    found = json.loads(shown[shown.index("{") :])
    assert not found.get("errors")
    return found["data"]


def axes(specification: object) -> dict[str, set[str]]:
    """The fields that stand for x and for y anywhere in a specification."""
    found: dict[str, set[str]] = {"x": set(), "y": set()}
    parts = [specification]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            for axis, fields in found.items():
                encoded = part.get("encoding", {}).get(axis, {})
                fields |= {encoded["field"]} if "field" in encoded else set()
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return found


def specification_of(plot: list[dict]) -> dict:
    """The only one of a plot."""
    (shown,) = plot
    return shown["content"]


def test_metrics_are_one_screen_of_numbers(finished):
    shown = json.loads(finished.dvc("metrics", "show", "--json").output)
    files = shown[""]["data"]
    figures = [figure for file in files.values() for figure in file["data"].items()]
    assert len(files) == 4 and len(figures) <= MOST_FIGURES
    assert len({name for name, _ in figures}) == len(figures)
    assert all(isinstance(value, int | float) and name.islower() for name, value in figures)
    assert len(finished.dvc("metrics", "show", "--md").output) < 2500


def test_an_experiment_stands_beside_the_run_that_it_differs_from(finished, tmp_path):
    """In a terminal of 100 columns, and without any column that is the same for both.

    A clone has no experiments of other tests, which would have columns of their own; it shares the cache.
    """
    repository = finished.clone(tmp_path / "clone")
    repository.dvc("config", "--local", "cache.dir", str(finished.path / ".dvc/cache"))
    repository.dvc("checkout", "--quiet")
    repository.dvc("exp", "run", "-S", "evaluate.num_samples=50", "--name", "fewer")
    table = repository.dvc("exp", "show", "--only-changed", "--no-pager", COLUMNS=str(WIDTH)).output
    assert max(map(len, table.splitlines())) <= WIDTH
    assert "fewer" in table
    header = re.sub(r"\s", "", table[: table.index("workspace")])
    for column in ("Experiment", "Created", "kid", "accuracy", "evaluate.num_samples"):
        assert column in header, table
    assert "schedule" not in header and "score" not in header, table

    difference = json.loads(repository.dvc("params", "diff", "--json").output)
    assert difference["params.yaml"].keys() == {"evaluate.num_samples"}
    assert set(json.loads(repository.dvc("metrics", "diff", "--json").output)) == {"reports/metrics.json"}


def test_every_plot_has_its_x_and_its_y_among_its_columns(drawn):
    curves = {name: plot for name, plot in drawn.items() if plot and plot[0]["type"] == "vega"}
    assert curves.keys() == CURVES | CHAPTERS_CURVES
    for name, plot in curves.items():
        specification = specification_of(plot)
        rows = specification["data"]["values"]
        fields = axes(specification)
        assert rows and fields["x"] and fields["y"], name
        for field in fields["x"] | fields["y"]:
            assert all(field in row for row in rows), (name, field)
        assert specification["title"]["text"] not in ("", name)


def test_several_trainings_share_one_pair_of_axes(drawn):
    rows = specification_of(drawn["loss"])["data"]["values"]
    assert len({row["filename::field"] for row in rows}) == 4


def test_the_confusion_matrix_counts_what_the_table_counts(drawn, finished):
    rows = specification_of(drawn["confusion"])["data"]["values"]
    counted = Counter((str(row["actual"]), str(row["predicted"])) for row in rows)
    table = pd.read_csv(finished.path / "results/evaluate/confusion.csv", dtype={"actual": str, "predicted": str})
    there = table[table["count"] > 0].set_index(["actual", "predicted"])["count"].to_dict()
    assert counted == there and sum(there.values()) == 40  # evaluate.num_samples


def test_pictures_are_shown_and_the_film_is_in_order(drawn):
    pictures = [name for name, plot in drawn.items() if plot and plot[0]["type"] == "image"]
    assert {name.rpartition("/")[2].removesuffix(".png") for name in pictures} >= PICTURES
    film = [name for name in pictures if "/film/" in name]
    assert len(film) > 5 and film == [f"reports/plots/index/film/{number:02}.png" for number in range(len(film))]
