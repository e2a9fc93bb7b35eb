"""What the spine's page says: every sentence follows from the numbers."""

import math
import shutil
from pathlib import Path

import literal_reports as literal
import numpy as np
import pandas as pd
import pytest
from literal_reports import CHAIN, SCHEDULES, VERDICT
from run_reports import edit_csv, edit_json

from report import claims as verdicts
from report.looks import schedule_look
from report.reading import Reports
from report.spine import claims, eta, exercises, forward, guidance_limits, memorisation, samplers, schedules, training
from report.spine import frontier as frontier_page
from report.spine import headline as top
from report.spine.frontier import answer, averaged, best_spacings, frontier_blocks
from report.spine.guidance_words import guidance_answer
from report.spine.lesson import lesson_text
from report.spine.runs import runs_table
from report.wording import MISSING, NB, duration, number, spread, with_article


@pytest.fixture
def reports(built, tmp_path) -> Reports:
    """A copy whose files a test may change."""
    return Reports(Path(shutil.copytree(built, tmp_path / "reports")), "index")


def plain(text: str) -> str:
    return text.replace(NB, " ")


def changed(table: pd.DataFrame, where: str, **values: object) -> pd.DataFrame:
    """The table with other values in the rows that a query finds."""
    table = table.copy()
    rows = table.query(where).index
    assert len(rows)
    for column, value in values.items():
        table.loc[rows, column] = value
    return table


def test_the_headline_holds_the_fid_against_its_floor(reports):
    assert "FID of 41.4, 3.2 times the floor of 12.84 ± 0.43" in plain(top.headline(reports))
    edit_json(reports.folder / "evaluate/metrics.json", fid=13.0)
    assert "no further from the test images than other real images are" in top.headline(reports)


def test_copies_are_called_copies():
    verdict = {"n": 1000, "memorisation": {"ratio_median": 1.04, "share_below_1_percent": 0.009}}
    assert "no sign that the model copies" in memorisation.copies_answer(verdict)
    verdict["memorisation"] = {"ratio_median": 0.2, "share_below_1_percent": 0.31}
    assert "31 times too many" in memorisation.copies_answer(verdict)


def test_exercise_1_says_when_an_image_is_lost_or_that_it_never_is():
    lost, others = plain(forward.lost_answer(SCHEDULES, "digit")), plain(forward.same_snr(SCHEDULES))
    assert "a digit is no longer recognisable from t = 611 of 1,000" in lost and "lesson's t = 610" in lost
    assert "SNR is 0.061" in lost and "n = 1,000" in lost
    assert "t = 841 under `cosine`" in others and "sigmoid" not in others
    never = SCHEDULES | {"unrecognisable": SCHEDULES["unrecognisable"] | {"linear": None}}
    assert "the digit never becomes unrecognisable" in forward.lost_answer(never, "digit")
    assert forward.same_snr(never) == ""
    blind = forward.lost_answer(never | {"accuracy_least_noise": 0.3}, "image")
    assert "cannot say when an image is lost" in blind


def test_exercise_2_follows_the_shares():
    assert plain(schedules.schedules_answer(SCHEDULES)[0]).startswith("Linear spends its noise too early: 40.0 % of")
    other = SCHEDULES | {"share_unrecognisable": {"linear": 0.2, "cosine": 0.4}}
    assert "is not confirmed here" in schedules.schedules_answer(other)[0]
    missing = SCHEDULES | {"left_out": {"linear": "T is too small"}, "share_unrecognisable": {"cosine": 0.2}}
    assert "linear cannot be built" in schedules.schedules_answer(missing)[0]


def test_exercise_3_says_whether_the_loss_fell(reports, page_params):
    falling = pd.DataFrame({"loss": [0.842, *[0.05] * 10]})
    assert training.loss_trend(falling) == "the loss fell from 0.842 to 0.0500"
    assert "the loss did not fall" in training.loss_trend(pd.DataFrame({"loss": [1.0, *[3.0] * 10]}))
    params = page_params["index"] | {"train": {"steps": 1200, "batch_size": 64}}
    splits = reports.record("data/card.json")["splits"]
    edit_json(reports.folder / "data/card.json", splits=splits | {"train": splits["train"] | {"n": 4000}})
    assert "19 epochs of 4,000" in training.training_answer(reports, params)


def test_exercise_3_says_what_200_steps_leave_of_the_image():
    (sentence,) = training.short_chain_answer(CHAIN, 1000, is_trained=True)
    assert "x at T still holds 36.4 % of" in plain(sentence) and "“Exercises side by side” shows" in sentence
    assert "`dvc exp run -S timesteps=200` trains it" in training.short_chain_answer(CHAIN, 1000, is_trained=False)[0]
    assert "This run is that one" in training.short_chain_answer(CHAIN, 200, is_trained=True)[0]
    assert training.short_chain_answer(CHAIN | {"alpha_bar_T": {}}, 1000, is_trained=False) == []


def test_the_lessons_run_tells_what_it_has():
    verdict = {"n": 1000, "fid": 14.9, "fid_floor": {"mean": 5.2}, "coverage": 0.9, "floor": {"coverage": 0.93}}
    text = plain(lesson_text({"seconds": 20140.2}, verdict))
    assert "run once to the end, took 5 h 35 min and reached an FID of 14.9 (real images 5.20)" in text
    assert "a coverage of 0.90 (real images 0.93) (n = 1,000)." in text
    assert lesson_text({}, {}).endswith("run once to the end.")


@pytest.fixture
def runs(reports) -> pd.DataFrame:
    literal.write_exercises(reports)
    return runs_table(reports)


def test_a_run_is_better_or_worse_only_beyond_the_error(runs):
    sentence = plain(exercises.chain_answer(runs))
    assert "rescaled to it, FID is the same within the error (8.40 against 8.00, difference +0.40 ± 0.99)" in sentence
    assert "and class accuracy worse (87.1 % against 95.3 %, −8.2 ± 1.3 points): x at T still" in sentence
    assert "x at T still holds 36.0 % of the image's amplitude" in sentence
    assert "this shows no advantage for cosine" in exercises.cosine_answer(runs)
    cosine = runs.index[runs["schedule"] == "cosine"][0]
    runs.loc[cosine, "fid"] = 4.0
    better = exercises.cosine_answer(runs)
    assert "FID is better" in better and "this shows an advantage for cosine" in better
    runs.loc[cosine, "accuracy"] = 0.8
    assert "shows no advantage" in exercises.cosine_answer(runs)
    runs["fid"], runs.loc[cosine, "kid"] = float("nan"), -0.7
    assert "KID is better (−0.700 against 0.300, difference −1.00 ± 0.28)" in plain(exercises.cosine_answer(runs))


def test_differences_of_the_exercises_carry_the_error_of_both(runs):
    rows = {row[0].text: [plain(cell.text) for cell in row[1:]] for row in exercises.quality_table(runs, VERDICT).rows}
    assert rows["FID"][:2] == ["8.00 ± 0.70", "8.40 (+0.40 ± 0.99)"] and rows["FID"][-1] == "7.50 ± 0.70"
    assert rows["Class accuracy, %"][2] == "87.1 (−8.2 ± 1.3)"
    assert rows["Coverage"][1] == "0.930 (0)"
    assert rows["Images differ by"][0] == "0" and float(rows["Images differ by"][2]) > 0.1


def test_losses_compare_only_at_the_same_noise_levels(runs):
    assert "losses compare, except for T = 200, linear_unscaled, where" in exercises.losses_compare(runs, "focused")
    assert "do not compare" in exercises.losses_compare(runs, "uniform")


def test_the_caution_says_how_far_seeds_are_apart_where_that_is_known(runs):
    trained = pd.DataFrame({"model": "diffusion", "factor": 1, "fid": [9.0, 10.0, 11.0]})
    assert "(the FIDs of 3 seeds have a standard deviation of 1.0)" in exercises.caution(runs, 0, trained)
    assert exercises.caution(runs, 0, None).endswith("changes the figures as well.")


def test_the_claim_about_cosine_is_open_until_both_were_trained(reports, page_params):
    def verdict() -> str:
        found = {claim.claim: claim.verdict for claim in claims.noise_claims(reports, page_params["index"])}
        return found["Cosine performs better than linear"]

    literal.write_exercises(reports)
    assert verdict() == verdicts.DISAGREES
    metrics = reports.record("exercises/metrics.json")
    name = next(name for name in metrics if name.endswith("cosine"))
    edit_json(reports.folder / "exercises/metrics.json", **{name: metrics[name] | {"fid": 4.0}})
    assert verdict() == verdicts.AGREES
    (reports.folder / "exercises/about.json").unlink()
    assert verdict() == verdicts.OPEN


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
    _, students, _, table = frontier_blocks(reports, measured)
    assert "4 NFE: FID 14.10 ± 0.20, 1.16 times the teacher's, and 95.0 %" in plain(students.text)
    assert "; 1 NFE: FID 30.50 ± 0.20, 2.50 times the teacher's" in plain(students.text)
    assert "in 10 min 12 s" in plain(students.text)
    rows = [[cell.text for cell in row[:4]] for row in table.rows]
    assert ["4", "distilled student", "uniform in t", "14.1"] in rows and "teacher" not in str(rows)


def test_a_frontier_of_another_model_says_so(reports):
    literal.write_frontier(reports)
    warning, first, *_ = frontier_blocks(reports, {"seed": 1, "train": {"steps": 7}})
    assert warning.text == "What follows was measured on another model, with `seed`: 0, `train.steps`: 1200."
    assert "another model" not in first.text
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
    first, second, last = guidance_answer(rows)
    assert "raises class fidelity" in first and "become sharper" in first and "The price is variety" in second
    assert "Unconditional samples (w = 0) are recognised as the class asked for in 10.4 %" in plain(last)
    strong = {"accuracy": 0.5, "sharpness": 0.2, "coverage": 0.9, "diversity": 1.4}
    first, second, _ = guidance_answer(changed(rows, "scale == 7.5", **strong))
    assert "lowers it" in first and "become softer" in first and "No price in variety" in second
    assert "within the error" in guidance_answer(changed(rows, "scale == 7.5", accuracy=0.965))[0]


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


def test_edited_smoke_tables_keep_their_other_values(reports):
    """`edit_csv` is what the wordings above rest on."""
    before = reports.table("evaluate/eta.csv")
    edit_csv(reports.folder / "evaluate/eta.csv", "eta == 0", rms_difference=0.5)
    after = reports.table("evaluate/eta.csv")
    assert after["rms_difference"].iloc[0] == 0.5 and before["diversity"].equals(after["diversity"])


NUMBERS = {
    41.37: "41.4",
    0: "0",
    None: "–",
    float("nan"): "–",
    4.04e-5: "4.04 × 10⁻⁵",
    -2.5: "−2.50",
    12345.6: "12,300",
    float("inf"): "∞",
    9.999: "10.0",
    0.0331: "0.0331",
}


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_have_three_digits(value):
    assert plain(number(value)) == NUMBERS[value]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.447, "0.447 s"), (21.4, "21.4 s"), (292.4, "4 min 52 s"), (20140.2, "5 h 35 min")]
)
def test_durations_read_well(seconds, text):
    assert plain(duration(seconds)) == text


def test_a_spread_has_the_decimals_of_its_error():
    assert plain(spread(12.8412, 0.431)) == "12.84 ± 0.43"
    assert plain(spread(0.1, None)) == "0.100" and spread(None, math.nan) == MISSING


def test_articles_follow_the_noun():
    assert (with_article("digit"), with_article("image")) == ("a digit", "an image")
