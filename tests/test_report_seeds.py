"""What the verdict says of training seeds, and of which page it says it."""

import pytest
from run_reports import edit_json, reports_in, write_json

from report.spine.seeds import error_of_the_headline
from report.wording import NB

PARAMS = {"schedule": "linear", "train": {"seed": "auto", "steps": 4000}}


@pytest.fixture
def reports(tmp_path):
    kid = {"mean": 0.1, "std": 0.2}
    runs = {f"seeds-{k}": {"n": 1000, "fid": 6.0 + k, "accuracy": 0.96 + 0.01 * k, "kid": kid} for k in range(3)}
    write_json(tmp_path / "seeds/metrics.json", runs)
    measured = {"schedule": "linear", "train": {"steps": 4000}}
    write_json(tmp_path / "seeds/about.json", {"data": {"dataset": "digits", "checksum": "0"}, "params": measured})
    write_json(tmp_path / "data/card.json", {"dataset": "digits", "checksum": "0"})
    return reports_in(tmp_path, "index")


def test_the_verdict_quotes_the_spread_over_training_seeds(reports):
    text = error_of_the_headline(reports, PARAMS)[0].replace(NB, " ")
    assert "3 trainings" in text and "an FID of 7.0 ± 1.0" in text and "97.0 ± 1.0 %" in text
    assert "n = 1,000" in text and "That spread is the error" in text


def test_few_samples_have_a_kid(reports):
    figures = reports.record("seeds/metrics.json")
    edit_json(reports.folder / "seeds/metrics.json", **{name: run | {"fid": None} for name, run in figures.items()})
    (text,) = error_of_the_headline(reports, PARAMS)
    assert "a KID of 0.100" in text


def test_it_says_nothing_of_other_params_or_data(reports):
    assert error_of_the_headline(reports, PARAMS | {"schedule": "cosine"}) == []
    assert error_of_the_headline(reports, PARAMS | {"train": {"seed": "auto", "steps": 4001}}) == []
    edit_json(reports.folder / "data/card.json", dataset="mnist")
    assert error_of_the_headline(reports, PARAMS) == []


def test_it_says_nothing_before_the_sweep_has_run(reports):
    (reports.folder / "seeds/about.json").unlink()
    assert error_of_the_headline(reports, PARAMS) == []
