"""What the spine's page says of its model, noise and training: every sentence follows from the numbers."""

import math
import shutil
from pathlib import Path

import literal_reports as literal
import pandas as pd
import pytest
from literal_reports import CHAIN, SCHEDULES, VERDICT
from run_reports import edit_csv, edit_json, reports_in

from report import claims as verdicts
from report.reading import Reports
from report.spine import claims, exercises, forward, memorisation, schedules, training
from report.spine import headline as top
from report.spine.lesson import lesson_text
from report.spine.runs import runs_table
from report.wording import MISSING, NB, duration, number, spread, with_article


@pytest.fixture
def reports(built, tmp_path) -> Reports:
    """A copy whose files a test may change."""
    return reports_in(Path(shutil.copytree(built, tmp_path / "reports")), "index")


def plain(text: str) -> str:
    return text.replace(NB, " ")


def changed(table: pd.DataFrame, where: str, **values: object) -> pd.DataFrame:
    """The table with other values in the rows that a query finds."""
    table = table.copy()
    rows = table.query(where).index
    assert len(rows)
    for column, value in values.items():
        table.loc[rows, column] = value
    if "accuracy" in values and "recognised" in table:
        number = len(table["recognised"].iloc[0])
        table.loc[rows, "recognised"] = literal.recognised(number, values["accuracy"])
    return table


def test_the_headline_holds_the_fid_against_its_floor(reports):
    assert "FID of 43.5, 3.4 times the floor of 12.84 ± 0.43" in plain(top.headline(reports))
    edit_json(reports.folder / "evaluate/recommended.json", fid=13.0)
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


def test_the_pages_name_the_network_that_was_trained(reports, page_params):
    of_kind = {kind: page_params["index"] | {"model": {"kind": kind}} for kind in ("unet", "dit")}
    assert "Training a U-Net with" in training.training_answer(reports, of_kind["unet"])
    assert "Training a diffusion transformer with" in training.training_answer(reports, of_kind["dit"])


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
    assert "that of T = 1,000, flow is of another target" in plain(exercises.losses_compare(runs, "focused"))
    assert "of another target" not in exercises.losses_compare(runs.assign(**{"train.target": "v"}), "focused")


def test_flow_matching_is_said_to_be_the_same_model_with_figures_where_it_was_trained(runs):
    for untrained in (None, runs[runs["schedule"] != "flow"]):
        words = schedules.one_family(untrained)
        assert "1 + 2√(ᾱ (1 − ᾱ))" in words and "`dvc exp run -S schedule=flow -S train.target=flow` trains it" in words
    words = plain(schedules.one_family(runs))
    assert "FID is the same within the error (7.70 against 8.00, difference −0.30 ± 0.99)" in words
    assert "trains it" not in words


def test_the_caution_says_how_far_seeds_are_apart_where_that_is_known(runs):
    known = exercises.caution(runs, 0, [9.0, 10.0, 11.0])
    assert "(the FIDs of 3 seeds have a standard deviation of 1.0)" in known
    assert exercises.caution(runs, 0, None).endswith("changes the figures as well.")


def test_a_target_that_all_runs_share_is_that_of_their_params(reports):
    about = reports.record("exercises/about.json")
    for one in about["changed"].values():
        del one["train.target"]
    about["params"]["train"]["target"] = "x0"
    edit_json(reports.folder / "exercises/about.json", **about)
    assert list(runs_table(reports)["train.target"]) == ["x0"] * 5


def test_seeds_of_other_params_say_nothing_of_the_exercises(reports):
    assert len(exercises.fids_over_seeds(reports)) == 5
    params = reports.record("seeds/about.json")["params"]
    edit_json(reports.folder / "seeds/about.json", params=params | {"train": params["train"] | {"steps": 1}})
    assert exercises.fids_over_seeds(reports) is None


def test_the_claim_about_cosine_is_open_until_both_were_trained(reports, page_params):
    def verdict() -> str:
        found = {claim.claim: claim.verdict for claim in claims.noise_claims(reports, page_params["index"])}
        return found["Cosine performs better than linear"]

    literal.write_exercises(reports)
    assert verdict() == verdicts.DISAGREES
    metrics = reports.record("exercises/metrics.json")
    changed = reports.record("exercises/about.json")["changed"]
    name = next(name for name in metrics if changed[name]["schedule"] == "cosine")
    edit_json(reports.folder / "exercises/metrics.json", **{name: metrics[name] | {"fid": 4.0}})
    assert verdict() == verdicts.AGREES
    (reports.folder / "exercises/about.json").unlink()
    assert verdict() == verdicts.OPEN


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
