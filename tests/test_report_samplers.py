"""What the spine's page says of samplers, guidance and the lesson's claims: it follows from the numbers."""

import shutil
from pathlib import Path

import literal_reports as literal
import numpy as np
import pandas as pd
import pytest
from literal_reports import SCHEDULES, VERDICT
from run_reports import edit_json, reports_in, write_json
from test_report_words import changed, plain

from report import claims as verdicts
from report.content import Block
from report.looks import schedule_look
from report.reading import Reports
from report.spine import claims, eta, guidance_limits, samplers
from report.spine import frontier as frontier_page
from report.spine.frontier import answer, averaged, best_spacings, findings
from report.spine.guidance_words import guidance_answer
from report.studies import FRONTIER, in_place
from report.wording import NB


def frontier_blocks(reports: Reports, params: dict) -> list[Block]:
    return in_place(FRONTIER, findings, reports, params)


@pytest.fixture
def reports(built, tmp_path) -> Reports:
    """A copy whose files a test may change."""
    return reports_in(Path(shutil.copytree(built, tmp_path / "reports")), "index")


def test_exercise_4_follows_the_clock_and_the_error():
    def answers(rows: pd.DataFrame) -> tuple[str, str]:
        return plain(samplers.speed_answer(rows)), plain(samplers.quality_answer(rows))

    rows = literal.samplers().assign(n=64)
    speed, quality = answers(rows)
    assert "21.4 s by DDPM with 1,000 network evaluations (NFE)" in speed and "19.8 times faster" in speed
    assert "no difference beyond the error" in quality
    where = "sampler == 'ddim' and steps == 50 and eta == 0"
    for kid, words in ((1.4, "DDIM is worse"), (0.01, "DDIM is better")):
        assert words in answers(changed(rows, where, kid=kid))[1]
    assert "DDIM is not faster" in answers(changed(rows, "sampler == 'ddpm'", seconds=0.5))[0]
    busy = answers(rows.assign(busy=True))[0]
    assert "the machine was busy" in busy and "21.4 s" not in busy and "times faster" not in busy


@pytest.mark.parametrize(("preemptions", "spread", "busy"), [(17, 1.5, False), (190, 1.5, True), (17, 2.6, True)])
def test_a_clock_beside_other_processes_is_not_believed(reports, preemptions, spread, busy):
    literal.write_samplers(reports)
    edit_json(reports.folder / "benchmark/timing.json", preemptions_per_second=preemptions, bare_spread=spread)
    rows = samplers.joined(reports)
    assert rows["busy"].eq(busy).all()
    claim = next(claims.sampler_claims(rows, literal.eta()))
    assert ("19.8 times faster" in claim.measured) != busy
    assert ("20.0 times fewer network evaluations" in claim.measured) == busy
    assert ("seconds are wrong" in samplers.tradeoff_pictures(reports, rows)[0].caption) == busy


def test_quality_and_clock_are_joined_row_by_row(reports):
    literal.write_samplers(reports)
    rows = samplers.joined(reports).set_index(["label", "steps"])
    assert len(rows) == len(literal.samplers())
    row = rows.loc[(f"DDIM, η{NB}={NB}0.5", 50)]
    assert (row["kid"], row["seconds"], row["n"], row["n_all"]) == (0.46, 1.11, 64, 200)
    assert rows.loc[("DPM-Solver++(2M)", 10), "seconds"] == 0.233


def test_quality_is_drawn_by_fid_where_there_is_one_beside_a_floor_of_as_many_images():
    rows = literal.samplers().assign(n=64, n_all=500, fid_all=np.nan)
    verdict = VERDICT | {"fid_floor": VERDICT["fid_floor"] | {"n": 500}}
    kid = samplers.tradeoff(rows, verdict)
    assert kid.measure.startswith("KID (n = 64,") and kid.table["value"].equals(rows["kid"]) and kid.floor == 0
    rows.loc[rows["sampler"] != "ddpm", "fid_all"] = 9.0
    fid = samplers.tradeoff(rows, verdict)
    assert fid.measure.startswith("FID (n = 500,") and fid.floor == 7.5
    assert fid.table[fid.table["value"].isna()]["sampler"].tolist() == ["ddpm"]
    assert samplers.tradeoff(rows, VERDICT).floor is None


def test_eta_is_called_deterministic_only_where_it_is():
    (sentence,) = map(plain, eta.eta_answer(literal.eta()))
    assert "a second run of DDIM with η = 0 gives the same images, and" in sentence
    assert "Diversity within a class rises" in sentence
    other = changed(changed(literal.eta(), "eta == 0", rms_difference=0.02), "eta == 1", diversity=0.5)
    (sentence,) = eta.eta_answer(other)
    assert "gives images that differ by 0.0200" in sentence and "Diversity within a class falls" in sentence


def test_the_frontier_compares_few_evaluations_with_ddpm():
    sentence = plain(answer(averaged(literal.frontier())))
    assert "DDPM with 1,000 network evaluations (NFE) has FID 12.00 ± 0.20 and 95.0 % class accuracy" in sentence
    few = "with 10 NFE, DPM-Solver++(2M) (timesteps uniform in t) reaches FID 12.60 ± 0.20, 1.05 times that of DDPM, an"
    more = "with 20 NFE, DPM-Solver++(2M) (timesteps uniform in t) reaches FID 12.10 ± 0.20, 1.01 times that of DDPM (n"
    assert few in sentence and more in sentence


def test_a_row_that_is_best_of_few_and_of_more_evaluations_is_told_once():
    rows = averaged(literal.frontier())
    text = plain(answer(rows[rows["calls"] != 20]))
    assert text.count("reaches FID") == 1 and text.endswith("class accuracy; none with up to 20 has a lower one.")


def test_students_are_compared_with_their_teacher(reports):
    literal.write_frontier(reports)
    measured = {"seed": 0, "train": {"steps": 1200}}
    _, students, mean_flow, _, table = frontier_blocks(reports, measured)
    assert "4 NFE: FID 14.10 ± 0.20, 1.16 times the teacher's, and 95.0 %" in plain(students.text)
    assert "; 1 NFE: FID 30.50 ± 0.20, 2.50 times the teacher's" in plain(students.text)
    assert "in 10 min 12 s" in plain(students.text) and "95.0 % class accuracy, recall 0.92." in plain(students.text)
    assert "After 5,000 training steps in 10 min 40 s: 1 NFE: FID 61.00 ± 0.20, 2.00 times" in plain(mean_flow.text)
    rows = [[cell.text for cell in row[:4]] for row in table.rows]
    assert ["4", "distilled student", "uniform in t", "14.1"] in rows and "teacher" not in str(rows)
    assert ["1", "MeanFlow", "uniform in t", "61.0"] in rows
    record = reports.record("frontier/distilled.json")
    write_json(reports.folder / "frontier/distilled.json", {key: record[key] for key in ("model_md5", "seconds")})
    assert len(frontier_blocks(reports, measured)) == 4  # a study of before MeanFlow


def test_a_frontier_of_another_model_says_so(reports):
    literal.write_frontier(reports)
    warning, first, *_ = frontier_blocks(reports, {"seed": 1, "train": {"steps": 7}})
    assert warning.text == "What follows was measured with other params: `seed`: 0, `train.steps`: 1200."
    assert "other params" not in first.text
    assert first == frontier_blocks(reports, {"seed": 0, "train": {"steps": 1200}})[0]


@pytest.mark.parametrize("of_another_model", [True, False])
def test_the_frontier_is_shown_without_students_of_its_model(reports, of_another_model):
    literal.write_frontier(reports)
    if of_another_model:
        edit_json(reports.folder / "frontier/distilled.json", model_md5="1" * 32)
    else:
        (reports.folder / "frontier/distilled.json").unlink()
    (text, *_, rows) = frontier_blocks(reports, {"seed": 0, "train": {"steps": 1200}})
    assert "DDPM with 1,000 network evaluations" in plain(text.text)
    assert not any("student" in cell.text for row in rows.rows for cell in row)


def test_of_every_solver_the_spacing_with_its_lowest_fid_is_drawn():
    rows = best_spacings(averaged(literal.frontier()))
    names = [plain(name) for name in dict.fromkeys(rows["label"])]
    assert names == ["DDIM, η = 0", "Heun", "DPM-Solver++(2M), uniform in t", "DDPM"]
    assert rows["fid_std"].round(6).eq(0.2).all() and (rows["seeds"] == 3).all()


def test_a_sampler_has_one_colour_in_every_picture(reports, monkeypatch):
    """Whatever stands beside it: the look follows the name and not the row."""
    drawn = {}
    for module in (samplers, frontier_page):
        monkeypatch.setattr(module, "quality_by_calls", lambda path, panels, looks: drawn.setdefault(path.name, looks))
        monkeypatch.setattr(type(reports), "drawn", lambda self, name, *_: name)
    literal.write_frontier(reports)
    literal.write_samplers(reports)
    samplers.tradeoff_pictures(reports, samplers.joined(reports))
    frontier_blocks(reports, {"seed": 0, "train": {"steps": 1200}})
    few, many = drawn["calls.png"], drawn["frontier.png"]
    assert list(few) != list(many) and few["DDPM"] == many["DDPM"]
    assert few["DPM-Solver++(2M)"] == many["DPM-Solver++(2M), uniform in t"]
    assert len({look.colour for look in few.values()}) == 3 and len(set(few.values())) == 5
    assert schedule_look("cosine") == schedule_look("cosine") != schedule_look("linear")


def test_exercise_5_follows_the_figures():
    rows = literal.guidance()
    first, judges, second, last = guidance_answer(rows)
    assert "by that test, and rank all of them alike." in judges
    assert "raises class fidelity" in first and "become sharper" in first and "The price is variety" in second
    assert "Unconditional samples (w = 0) are recognised as the class asked for in 10.4 %" in plain(last)
    strong = {"accuracy": 0.5, "sharpness": 0.2, "recall": 0.9, "coverage": 0.9, "diversity": 1.4}
    first, judges, second, _ = guidance_answer(changed(rows, "scale == 7.5", **strong))
    assert "they rank 1 of these the other way around, so that order rests on the judge." in judges
    assert "lowers it" in first and "become softer" in first and "No price in variety" in second
    assert "within the error" in guidance_answer(changed(rows, "scale == 7.5", accuracy=0.965))[0]
    blind = rows.assign(recognised_second="x" * 500, accuracy_second=1.0)
    assert "recognises 100.0 % and 100.0 %. Of 3 pairs of scales both judges tell 0 apart" in plain(
        guidance_answer(blind)[1]
    )
    assert "neither confirms nor contradicts" in guidance_answer(blind)[1]


def test_limits_of_guidance_are_compared_with_guidance_everywhere(reports):
    names = guidance_limits.limit_names({"interval": [-3.0, 1.0], "rescale": 0.7})

    def sentences(limited: pd.DataFrame) -> str:
        everywhere = literal.guidance()[2:].assign(limit="everywhere")
        return plain(guidance_limits.limits_answer(limited, everywhere, names))

    interval, rescaled = sentences(literal.limited()).split(" At w")
    assert "32.5 % of the network evaluations are saved, coverage is 0.70 instead of 0.38" in interval
    assert "only at log-SNR −3 to 1" in interval
    assert "saved" not in rescaled and "saturation is 25.0 % instead of 41.0 %" in rescaled
    assert sentences(literal.limited()).count("equal within the error") == 2
    lower = literal.limited().reset_index(drop=True)
    lower = changed(lower, "limit == 'interval' and scale == 7.5", accuracy=0.9)
    assert "class accuracy is lower (90.0 % against 99.8 %)" in sentences(lower)
    path = reports.folder / "guidance/limited.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert guidance_limits.limit_blocks(reports, literal.guidance(), {}) == []


def test_claims_agree_only_where_the_measurement_does(reports, page_params):
    def found(rows: pd.DataFrame, etas: pd.DataFrame, guided: pd.DataFrame) -> dict[str, str]:
        noise = claims.noise_claims(reports, page_params["index"] | {"schedule": "linear", "timesteps": 1000})
        all_claims = [*noise, *claims.sampler_claims(rows, etas), *claims.guidance_claims(guided)]
        return {claim.claim: claim.verdict for claim in all_claims}

    literal.write_exercises(reports)
    edit_json(reports.folder / "schedules/metrics.json", **SCHEDULES)
    rows = literal.samplers().assign(n=64)
    before = found(rows, literal.eta(), literal.guidance())
    assert before.pop("Cosine performs better than linear") == verdicts.DISAGREES
    assert len(before) == 8 and set(before.values()) == {verdicts.AGREES}

    gone, shares = {"linear": 0.13, "cosine": 2e-9}, {"linear": 0.01, "cosine": 0.2}
    edit_json(reports.folder / "schedules/metrics.json", alpha_bar_T=gone, share_unrecognisable=shares)
    guided = changed(literal.guidance(), "scale == 7.5", sharpness=0.5, diversity=1.5)
    after = found(
        changed(rows, "sampler == 'ddim'", kid=9.0),
        changed(literal.eta(), "eta == 0", rms_difference=0.1),
        changed(guided, "scale == 0", accuracy=0.99),
    )
    assert set(after.values()) == {verdicts.DISAGREES}


def test_claims_are_counted_in_words():
    table = [verdicts.Claim("a", "b", verdict) for verdict in (verdicts.AGREES, verdicts.DISAGREES, verdicts.DISAGREES)]
    assert verdicts.claims_table(table).answer == ("Of 3 claims, 1 agrees with the measurements and 2 do not agree.",)
