"""What the page says where two judges rank alike, and where they do not."""

import pandas as pd
import pytest
from run_reports import write_json

from report.reading import Reports
from report.second import rankings, second_answer, second_table
from report.wording import NB

FLOOR = {"n": 1000, "mean": {"fid": 5.0, "kid": 0.0}, "std": {"fid": 0.2, "kid": 0.1}}


@pytest.fixture
def reports(tmp_path) -> Reports:
    write_json(tmp_path / "judge/metrics.json", {"accuracy": 0.99, "n_test": 1000, "second": {"accuracy": 0.97}})
    return Reports(tmp_path, "index", tmp_path)


def judged(first: list[float], second: list[float]) -> pd.DataFrame:
    """Three samplers with these KIDs."""
    rows = pd.DataFrame({"label": ["A", "B", "C"][: len(first)], "n": 500, "kid": first, "kid_second": second})
    return rows.assign(kid_std=0.1, kid_std_second=0.1, fid=rows["kid"], fid_second=rows["kid_second"])


def said(reports: Reports, rows: pd.DataFrame) -> str:
    return second_answer(reports, rows, "samplers").replace(NB, " ")


def test_judges_that_rank_alike_confirm_each_other(reports):
    text = said(reports, judged([0.1, 1.0, 2.0], [3.0, 5.0, 9.0]))
    assert "recognises 97.0 % (95.7 to 97.9) of the real test images (the first 99.0 %)" in text
    assert "Of 3 pairs of samplers both judges tell 3 apart" in text and "rank all of them alike" in text
    assert "Both have the lowest FID for A" in text


def test_an_order_that_only_one_judge_sees_is_told(reports):
    rows = judged([0.1, 1.0, 2.0], [5.0, 3.0, 9.0])
    assert rankings(rows).opposite == [("A", "B")]
    text = said(reports, rows)
    assert "They rank 1 of these the other way around" in text and "the first has A before B." in text
    assert "The lowest FID has A by the first judge, B by the second." in text


def test_differences_within_the_error_are_no_ranking(reports):
    rows = judged([0.1, 0.2], [5.0, 3.0])
    assert rankings(rows) == (1, 0, [])
    assert said(reports, rows).endswith("it neither confirms nor contradicts the ranking.")


def test_the_table_has_both_judges_and_the_floor_of_the_second():
    shown = second_table(judged([0.1, 0.2], [5.0, 3.0]).assign(fid=float("nan"), accuracy=0.9), FLOOR, "Sampler")
    assert shown.headings == ("Sampler", "n", "FID, second judge", "KID", "KID, second judge", "Class accuracy")
    assert "1,000 real images score FID 5.00" in shown.caption
