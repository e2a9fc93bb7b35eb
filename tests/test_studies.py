"""The records of committed studies: each says which data it was made of, and its params agree."""

import json
from pathlib import Path

import pytest
import yaml
from run_reports import STUDIES

from stages.shared.origin import origin_of

REPORTS = Path(__file__).parents[1] / "reports"


@pytest.mark.parametrize("study", [*STUDIES, "peers"])
def test_a_committed_study_says_which_data_it_was_made_of(study):
    about = json.loads((REPORTS / study / "about.json").read_text(encoding="utf-8"))
    dataset = about["data"]["dataset"]
    assert about.get("params", {}).get("data", {}).get("dataset", dataset) == dataset
    changes = dict(change.split("=") for change in about.get("changes", ()))
    assert changes.get("data.dataset", dataset) == dataset


def test_the_lessons_run_is_of_the_data_of_its_params():
    about = json.loads((REPORTS / "lesson/about.json").read_text(encoding="utf-8"))
    params = yaml.safe_load((REPORTS / "lesson/params.yaml").read_text(encoding="utf-8"))
    assert about["data"]["dataset"] == params["data"]["dataset"]


def test_the_origin_of_a_study_is_that_of_the_data_card(tmp_path):
    card = {"dataset": "folder", "checksum": "00ff", "source": "somewhere"}
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert origin_of(tmp_path / "card.json") == {"data": {"dataset": "folder", "checksum": "00ff"}}
