"""The pages: self-contained, escaped, the same bytes each time, and wordings that follow from the numbers."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
from fake_reports import HOSTILE, built_reports, edit_csv, edit_json, odd_reports, write_csv
from markdown_it import MarkdownIt

from diffusion.data import save_sheet
from report import (
    claims,
    compare,
    density,
    exercises,
    guidance,
    latent,
    lesson_table,
    mixtures,
    noise,
    overview,
    prompts,
    samplers,
    score,
    training,
    wording,
)
from report.builder import build, inline_html, markdown_cell
from report.frontier import answer, averaged, best_times, frontier_blocks
from report.latent import costs
from report.reading import Reports, literal, png_size
from report.wording import NB


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return built_reports(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def params() -> dict:
    from fake_reports import PARAMS

    return PARAMS


@pytest.fixture
def reports(built, tmp_path) -> Reports:
    """A copy whose files a test may change."""
    return Reports(Path(shutil.copytree(built, tmp_path / "reports")))


def plain(text: str) -> str:
    return text.replace(wording.NB, " ")


def test_the_page_loads_nothing_from_elsewhere(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'>\s)]+)""", page)
    assert sources and all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "http" not in re.sub(r"http-equiv", "", page)


def test_the_policy_names_the_style_and_the_script_that_stand_in_the_page(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_picture_is_whole_and_has_its_size_and_a_description(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    images = re.findall(r'<img src="data:image/png;base64,([^"]+)" width="(\d+)" height="(\d+)" alt="([^"]+)">', page)
    assert len(images) == page.count("<img") >= 20
    for data, width, height, _ in images:
        assert base64.b64decode(data)[:4] == b"\x89PNG"
        assert int.from_bytes(base64.b64decode(data[:32])[16:20], "big") == int(width) > 0 < int(height)


def visible(page: str) -> str:
    """What is left of an HTML page without style, script and tags."""
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL))


def test_no_page_shows_a_missing_number(built):
    texts = (
        visible((built / "index.html").read_text(encoding="utf-8")),
        (built / "README.md").read_text(encoding="utf-8"),
    )
    for text in texts:
        assert len(text) > 10_000 and not re.search(r"\b(nan|NaN|None|inf|undefined|null)\b", text)


def test_the_five_exercises_start_with_their_answer(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    for number in range(1, 6):
        after = page.split(f'<p class="kicker">Exercise {number}</p>')[1]
        assert re.match(r'\s*<h2>[^<]+</h2>\s*<div class="answer">\s*<p>.*\d', after)


def test_a_second_build_gives_the_same_bytes(built, reports, params):
    before = {path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    (reports.folder / "figures" / "stale.png").write_bytes(b"")
    build(reports.folder, params)
    after = {
        path.relative_to(reports.folder): path.read_bytes() for path in reports.folder.rglob("*") if path.is_file()
    }
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] != after[path]] == []


def test_reports_stay_small(built):
    assert sum(path.stat().st_size for path in built.rglob("*") if path.is_file()) < 8 * 2**20


def test_markdown_links_only_to_files_that_are_there(built):
    text = (built / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(links) >= 15 and all((built / link).is_file() for link in links)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert tables and all(len({line.count("|") for line in table}) == 1 and len(table) > 2 for table in tables)


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    return odd_reports(tmp_path_factory.getbasetemp())


class Elements(HTMLParser):
    """The tags of a page, what their attributes refer to, and all text that one sees."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.texts = set(), set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.texts += [value for name, value in attributes if name in ("alt", "aria-label")]

    def handle_data(self, text):
        self.texts.append(text)

    def shows(self, text: str) -> bool:
        return text in plain("".join(self.texts))


def as_shown(name: str) -> str:
    return plain(literal(name))


def test_names_of_classes_make_no_markup_of_the_page(built, odd):
    usual, page = (Elements((folder / "index.html").read_text(encoding="utf-8")) for folder in (built, odd))
    assert page.tags <= usual.tags and page.attributes <= usual.attributes
    assert [name for name in HOSTILE if not page.shows(as_shown(name))] == []


def test_names_of_classes_make_no_markup_of_the_markdown_page(built, odd):
    """By another reader of Markdown, which lets HTML through."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    usual, page = (
        Elements(reader.render((folder / "README.md").read_text(encoding="utf-8"))) for folder in (built, odd)
    )
    assert page.tags <= usual.tags and page.attributes <= usual.attributes
    assert [name for name in HOSTILE if not page.shows(as_shown(name))] == []
    text = (odd / "README.md").read_text(encoding="utf-8")
    assert all("$" not in part.replace("\\$", "") for part in text.splitlines())
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    bars = [{len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} for table in tables]
    assert tables and all(len(counts) == 1 for counts in bars)


def test_the_lessons_run_is_shown_only_where_there_is_one(built, odd):
    assert "coverage of 0.90 (real images 0.93)" in plain((built / "README.md").read_text(encoding="utf-8"))
    assert "run once to the end, took 5 h 35 min" in plain((built / "README.md").read_text(encoding="utf-8"))
    assert "run once to the end" not in (odd / "README.md").read_text(encoding="utf-8")


def test_the_frontier_compares_few_calls_with_ddpm(built, odd):
    page = plain((built / "README.md").read_text(encoding="utf-8"))
    assert "DDPM with 1,000 network calls has FID 12.00 ± 0.20 and 95.0 % class accuracy" in page
    assert "with 10 calls, DPM-Solver++(2M) (even t) reaches FID 12.60 ± 0.20, 1.05 times that of DDPM, and" in page
    assert "with 20 calls, DPM-Solver++(2M) (even t) reaches FID 12.10 ± 0.20, 1.01 times that of DDPM (no diff" in page
    assert "make frontier" not in (odd / "README.md").read_text(encoding="utf-8")


def test_a_row_that_is_best_of_few_and_of_more_calls_is_told_once(reports):
    rows = averaged(reports.table("frontier/frontier.csv"))
    text = plain(answer(rows[rows["calls"] != 20]))
    assert text.count("reaches FID") == 1 and text.endswith("class accuracy; none with up to 20 has a lower one.")


def test_students_are_held_against_their_teacher(built):
    page = plain((built / "README.md").read_text(encoding="utf-8"))
    assert "4 calls: FID 14.10 ± 0.20, 1.16 times the teacher's, and 95.0 %" in page
    assert "; 1 call: FID 30.50 ± 0.20, 2.50 times the teacher's" in page and "in 10 min 12 s" in page
    assert "| 4 | distilled student | even t | 14.1 |" in page and "| teacher |" not in page


def test_a_frontier_of_another_model_says_so(reports, params):
    (warning, answer, *_) = frontier_blocks(reports, params | {"seed": 1, "train": params["train"] | {"steps": 7}})
    steps = params["train"]["steps"]
    assert warning.text == f"What follows was measured on another model, with `seed`: 0, `train.steps`: {steps}."
    assert "another model" not in answer.text and answer == frontier_blocks(reports, params)[0]


@pytest.mark.parametrize("of_another_model", [True, False])
def test_the_frontier_is_shown_without_students_of_its_model(reports, params, of_another_model):
    if of_another_model:
        edit_json(reports.folder / "frontier/distilled.json", model_md5="1" * 32)
    else:
        (reports.folder / "frontier/distilled.json").unlink()
    (text, *_, rows) = frontier_blocks(reports, params)
    assert "DDPM with 1,000 network calls" in plain(text.text)
    assert not any("student" in cell.text for row in rows.rows for cell in row)


def test_of_every_solver_the_spacing_with_its_lowest_fid_is_drawn(built):
    rows = best_times(averaged(pd.read_csv(built / "frontier" / "frontier.csv")))
    names = [name.replace(NB, " ") for name in dict.fromkeys(rows["sampler"])]
    assert names == ["DDIM, η = 0", "Heun", "DPM-Solver++(2M), even t", "DDPM"]
    assert rows["fid_std"].round(6).eq(0.2).all() and (rows["seeds"] == 3).all()


def test_few_samples_are_reported_without_fid(odd):
    page = (odd / "index.html").read_text(encoding="utf-8")
    assert "FID needs 500 images" in page and "64 images made in 50 steps score a KID of 0.312" in plain(page)
    assert not re.search(r"\b(nan|None)\b", visible(page))


def test_text_is_escaped_and_only_backticks_make_markup():
    assert inline_html("a < b `<i>` &") == "a &lt; b <code>&lt;i&gt;</code> &amp;"
    assert markdown_cell("a|b\n<c> *d*") == r"a\|b &lt;c&gt; \*d\*"


def test_a_missing_or_damaged_file_is_named_in_one_line(reports):
    (reports.folder / "train/timing.json").write_text("{")
    with pytest.raises(ValueError, match="train/timing.json: not valid JSON") as error:
        reports.record("train/timing.json")
    assert "\n" not in str(error.value)
    (reports.folder / "data/counts.csv").write_text('a,b\n"1\n')
    with pytest.raises(ValueError, match="counts.csv: not a valid table"):
        reports.table("data/counts.csv")
    (reports.folder / "evaluate/samples.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="samples.png: not a PNG"):
        png_size(reports.folder / "evaluate/samples.png")
    with pytest.raises(OSError, match="nowhere.json"):
        reports.record("nowhere.json")


def test_the_headline_holds_the_fid_against_its_floor(reports):
    assert "FID of 41.4, 3.2 times the floor of 12.84 ± 0.43" in plain(overview.headline(reports))
    edit_json(reports.folder / "evaluate/metrics.json", fid=13.0)
    assert "no further from the test images than other real images are" in overview.headline(reports)


def test_copies_are_called_copies(reports):
    assert "no sign that the model copies" in overview.memorisation_section(reports).answer[0]
    edit_json(
        reports.folder / "evaluate/metrics.json", memorisation={"ratio_median": 0.2, "share_below_1_percent": 0.31}
    )
    assert "31 times too many" in overview.memorisation_section(reports).answer[0]


def test_exercise_1_says_when_a_digit_is_lost_or_that_it_never_is(reports):
    path = reports.folder / "schedules/metrics.json"
    marks = json.loads(path.read_text())["unrecognisable"]
    edit_json(path, unrecognisable=marks | {"linear": {"t": 611.4, "log_snr": -2.8, "snr": 0.0608}})
    lost, others = (plain(sentence) for sentence in noise.forward_section(reports).answer)
    assert (
        "no longer recognisable from t = 611 of 1,000" in lost and "lesson's t = 610" in lost and "SNR is 0.061" in lost
    )
    assert "under `cosine`" in others and "n = 1,000" in lost
    edit_json(path, unrecognisable=marks | {"linear": None})
    assert "never becomes unrecognisable" in noise.forward_section(reports).answer[0]
    edit_json(path, accuracy_least_noise=0.3)
    assert "cannot say when a digit is lost" in noise.forward_section(reports).answer[0]


def test_exercise_2_follows_the_shares(reports):
    metrics = reports.record("schedules/metrics.json")
    metrics["share_unrecognisable"] |= {"linear": 0.4, "cosine": 0.2}
    assert plain(noise.schedules_answer(metrics)[0]).startswith("Linear spends its noise too early: 40.0 % of")
    metrics["share_unrecognisable"] |= {"linear": 0.2, "cosine": 0.4}
    assert "is not confirmed here" in noise.schedules_answer(metrics)[0]
    metrics |= {"left_out": {"linear": "T is too small"}, "share_unrecognisable": {"cosine": 0.2}}
    assert "linear cannot be built" in noise.schedules_answer(metrics)[0]


def test_exercise_3_says_whether_the_loss_fell(reports, params):
    assert "the loss fell from 0.842" in training.training_answer(reports, params)
    assert "19 epochs of 4,000" in training.training_answer(reports, params)
    edit_csv(reports.folder / "train/history.csv", "step > 1000", loss=3.0)
    assert "the loss did not fall" in training.training_answer(reports, params)


def test_exercise_3_says_what_200_steps_leave_of_the_image(reports, params):
    (answer,) = training.short_chain_answer(reports, params)
    assert "x at T still holds 36.4 % of" in plain(answer) and "stands in “Exercises side by side”" in answer
    (reports.folder / "exercises/about.json").unlink()
    assert "`dvc exp run -S timesteps=200` trains it" in training.short_chain_answer(reports, params)[0]
    assert "This run is that one" in training.short_chain_answer(reports, params | {"timesteps": 200})[0]


def test_exercises_are_shown_only_where_they_were_run(built, odd):
    page = (built / "README.md").read_text(encoding="utf-8")
    assert "## Exercises 2 and 3: Exercises side by side" in page
    assert "| schedule | linear | linear | linear\\_unscaled | cosine |" in page
    for text in ("(figures/exercises.png)", "(figures/exercises_loss.png)", "“Exercises side by side” has both"):
        assert text in page
    assert "side by side" not in (odd / "README.md").read_text(encoding="utf-8")


def test_a_run_is_better_or_worse_only_beyond_the_error(reports):
    runs = exercises.runs_table(reports)
    answer = plain(exercises.chain_answer(runs))
    assert "rescaled to it, FID is the same within the error (8.40 against 8.00, difference +0.40 ± 0.99)" in answer
    assert "and class accuracy worse (87.1 % against 95.3 %, −8.2 ± 1.3 points): x at T still" in answer
    assert "x at T still holds 36.0 % of the image's amplitude" in answer
    assert "that cosine performs better does not show here" in exercises.cosine_answer(runs)
    runs.loc["cosine", "fid"] = 4.0
    better = exercises.cosine_answer(runs)
    assert "FID is better" in better and "that cosine performs better shows here" in better
    runs.loc["cosine", "accuracy"] = 0.8
    assert "does not show here" in exercises.cosine_answer(runs)
    runs["fid"], runs.loc["cosine", "kid"] = float("nan"), -0.7
    assert "KID is better (−0.700 against 0.300, difference −1.00 ± 0.28)" in plain(exercises.cosine_answer(runs))


def test_differences_of_the_exercises_carry_the_error_of_both(reports):
    runs, metrics = exercises.runs_table(reports), reports.record("exercises/metrics.json")
    rows = {
        row[0].text: [plain(cell.text) for cell in row[1:]]
        for row in exercises.quality_table(runs, metrics["first"]).rows
    }
    assert rows["FID"][:2] == ["8.00 ± 0.70", "8.40 (+0.40 ± 0.99)"] and rows["FID"][-1] == "7.50 ± 0.70"
    assert rows["Class accuracy, %"][2] == "87.1 (−8.2 ± 1.3)"
    assert rows["Coverage"][1] == "0.930 (0)"
    assert rows["Images differ by"][:2] == ["0", "0"] and float(rows["Images differ by"][2]) > 0.5


def test_losses_compare_only_at_the_same_noise_levels(reports):
    runs = exercises.runs_table(reports)
    assert "losses compare, but for T = 200, linear_unscaled, where" in exercises.losses_compare(runs, "focused")
    assert "do not compare" in exercises.losses_compare(runs, "uniform")


def test_the_caution_says_how_far_seeds_are_apart_where_that_is_known(reports):
    runs = exercises.runs_table(reports)
    assert "(the FIDs of 3 seeds have a standard deviation of 1.0)" in exercises.caution(reports, runs, 0)
    (reports.folder / "stability/runs.csv").unlink()
    assert exercises.caution(reports, runs, 0).endswith("moves the figures as well.")


def test_the_claim_about_cosine_is_open_until_both_were_trained(reports, params):
    def verdict():
        return {claim: verdict for claim, _, verdict in claims.noise_claims(reports, params)}[
            "Cosine performs better than linear"
        ]

    assert verdict() == claims.DISAGREES
    metrics = reports.record("exercises/metrics.json")
    edit_json(reports.folder / "exercises/metrics.json", cosine=metrics["cosine"] | {"fid": 4.0})
    assert verdict() == claims.AGREES
    (reports.folder / "exercises/about.json").unlink()
    assert verdict() == claims.OPEN


def test_exercise_4_follows_the_clock_and_the_error(reports):
    assert "21.4 s by DDPM with 1,000 network calls" in plain(samplers.speed_answer(samplers.joined(reports)))
    assert "19.8 times faster" in samplers.speed_answer(samplers.joined(reports))
    assert "no difference beyond the error" in samplers.quality_answer(samplers.joined(reports))
    where = "sampler == 'ddim' and steps == 50 and eta == 0"
    for kid, words in ((1.4, "DDIM is worse"), (0.01, "DDIM is better")):
        edit_csv(reports.folder / "evaluate/samplers.csv", where, kid=kid)
        assert words in samplers.quality_answer(samplers.joined(reports))
    edit_csv(reports.folder / "benchmark/timing.csv", "sampler == 'ddpm'", seconds=0.5)
    assert "DDIM is not faster" in samplers.speed_answer(samplers.joined(reports))


def test_quality_and_clock_are_joined_row_by_row(reports):
    rows = samplers.joined(reports).set_index(["label", "steps"])
    assert len(rows) == 11
    row = rows.loc[(f"DDIM, η{wording.NB}={wording.NB}0.5", 50)]
    assert (row["kid"], row["seconds"], row["n"], row["n_all"]) == (0.46, 1.11, 64, 200)
    assert rows.loc[("DPM-Solver++(2M)", 10), "seconds"] == 0.233


def test_eta_is_called_deterministic_only_where_it_is(reports):
    path = reports.folder / "evaluate/eta.csv"
    answer = plain(samplers.eta_answer(reports.table("evaluate/eta.csv"))[0])
    assert "η = 0 gives the same images in a second run" in answer and "Diversity within a class rises" in answer
    edit_csv(path, "eta == 0", rms_difference=0.02)
    edit_csv(path, "eta == 1", diversity=0.5)
    answer = samplers.eta_answer(reports.table("evaluate/eta.csv"))[0]
    assert "gives images that differ by 0.0200" in answer and "Diversity within a class falls" in answer


def test_exercise_5_follows_the_figures(reports):
    path = reports.folder / "guidance/metrics.csv"
    first, second, last = guidance.guidance_answer(reports.table("guidance/metrics.csv"))
    assert "lifts class fidelity" in first and "become sharper" in first and "The price is variety" in second
    assert "Without condition (w = 0) 10.4 %" in plain(last)
    edit_csv(path, "scale == 7.5", accuracy=0.5, sharpness=0.2, coverage=0.9, diversity=1.4)
    first, second, _ = guidance.guidance_answer(reports.table("guidance/metrics.csv"))
    assert "lowers it" in first and "become softer" in first and "No price in variety" in second
    edit_csv(path, "scale == 7.5", accuracy=0.965)
    assert "within the error" in guidance.guidance_answer(reports.table("guidance/metrics.csv"))[0]


def test_limits_of_guidance_are_held_against_guidance_everywhere(reports, params):
    def sentences() -> str:
        rows = reports.table("guidance/metrics.csv")
        return plain(guidance.limited_blocks(reports, rows, params)[0].text)

    interval, rescaled = sentences().split(" At w")
    assert "32.5 % of the network calls are saved, coverage is 0.70 instead of 0.38" in interval
    assert "saved" not in rescaled and "saturation 25.0 % instead of 41.0 %" in rescaled
    assert sentences().count("equal within the error") == 2
    edit_csv(reports.folder / "guidance/limited.csv", "limit == 'interval' and scale == 7.5", accuracy=0.9)
    assert "class accuracy lower (90.0 % against 99.8 %)" in sentences()
    limited = reports.folder / "guidance/limited.csv"
    limited.write_text(limited.read_text().splitlines()[0] + "\n")
    assert guidance.limited_blocks(reports, reports.table("guidance/metrics.csv"), params) == []


def test_the_error_of_a_learned_score_is_that_of_the_worse_mixture(reports):
    edit_csv(reports.folder / "score/mixture_error.csv", "mixture == 'ring' and log_snr == 5", error=1.5)
    answer = plain(mixtures.field_answer(reports.table("score/mixture_error.csv")))
    assert "3.3 % of the score's size where the points are at log-SNR −3.0, and 50.0 % at log-SNR 5.0" in answer


def test_samplers_of_the_score_are_the_best_of_their_kind(reports):
    answer = plain(score.samplers_answer(reports.table("score/samplers.csv")))
    assert "KID on n = 200: Euler–Maruyama 0.600 with 100 network calls per image (97.0 %" in answer
    assert "the adaptive solver 0.440 with 61 network calls" in answer
    edit_csv(reports.folder / "score/samplers.csv", "sampler == 'heun'", kid=0.1)
    assert "Heun 0.100 with 39 network calls" in plain(score.samplers_answer(reports.table("score/samplers.csv")))
    edit_csv(reports.folder / "score/samplers.csv", "subset == 'all'", fid=12.0)
    assert "by its score, FID on" in plain(score.samplers_answer(reports.table("score/samplers.csv")))


def test_bits_are_told_by_bound_and_ode_of_the_same_digits(reports):
    answer = plain(density.bits_answer(reports.table("score/bits.csv")))
    assert "test digits cost 1.350 ± 0.030 (n = 128) by the variational bound with no class told" in answer
    assert "ODE they cost 1.450 ± 0.030 (n = 32), where the bound says 1.550 ± 0.030 (n = 32)" in answer
    assert "digits, pixels shuffled 5.200 ± 0.030 and uniform noise 9.100 ± 0.030" in answer


def test_the_way_back_is_told_for_the_fewest_and_the_most_steps(reports):
    answer = plain(score.inversion_answer(reports.table("score/inversion.csv")))
    assert "differ by 0.200 ± 0.010 with 10 steps and by 0.020 ± 0.010 with 100" in answer


def test_claims_agree_only_where_the_measurement_does(reports, params):
    def verdicts() -> dict[str, str]:
        (table,) = claims.claims_section(reports, params).blocks
        return {row[0].text: row[2].text for row in table.rows}

    before = verdicts()
    assert before.pop("Cosine performs better than linear") == claims.DISAGREES
    assert set(before.values()) == {claims.AGREES}
    edit_csv(reports.folder / "guidance/metrics.csv", "scale == 7.5", sharpness=0.5, diversity=1.5)
    edit_csv(reports.folder / "guidance/metrics.csv", "scale == 0", accuracy=0.99)
    edit_csv(reports.folder / "evaluate/samplers.csv", "sampler == 'ddim'", kid=9.0)
    edit_csv(reports.folder / "evaluate/eta.csv", "eta == 0", rms_difference=0.1)
    edit_json(reports.folder / "train_latent/timing.json", images_per_second=100.0)
    edit_csv(reports.folder / "larger/larger.csv", "size == 56 and space == 'latent'", images_per_second=100.0)
    edit_csv(reports.folder / "score/mixture_error.csv", "log_snr < 9", error=2.0)
    metrics = reports.record("schedules/metrics.json")
    gone = {"alpha_bar_T": metrics["alpha_bar_T"] | {"linear": 0.13}}
    shares = {"share_unrecognisable": metrics["share_unrecognisable"] | {"linear": 0.01}}
    edit_json(reports.folder / "schedules/metrics.json", **gone, **shares)
    after = verdicts()
    assert claims.AGREES not in after.values()


def table_of_the_lesson(reports, params) -> dict[tuple[str, str], lesson_table.Entry]:
    section = compare.compare_section(reports, params)
    (table,) = [block for block in section.blocks if block.kind == "table" and block.headings[0] == "Property"]
    entries = [lesson_table.Entry(*(cell.text for cell in row)) for row in table.rows]
    return {(entry.name, entry.model): entry for entry in entries}


def test_the_lessons_table_stands_beside_the_measured_one(reports, params):
    entries = table_of_the_lesson(reports, params)
    assert len(entries) == 15 and {entry.verdict for entry in entries.values()} == {claims.AGREES}
    assert "1 of 6 runs failed" in plain(entries["Training stability", "GAN"].measured)
    assert plain(entries["Sampling speed", "Diffusion"].measured).startswith(
        "3.10 with 1,000 calls, 62.0 with 50 calls"
    )
    answer = plain(compare.compare_section(reports, params).answer[0])
    assert answer == "Of 15 entries of the lesson's table 15 were measured and 15 agree."


def test_entries_that_the_measurements_contradict_are_named(reports, params):
    edit_csv(reports.folder / "compare/quality.csv", "model == 'gan'", fid=5.0, precision=0.5, coverage_within=0.93)
    edit_csv(reports.folder / "compare/quality.csv", "model == 'vae'", sharpness=0.99, classes=8)
    edit_csv(reports.folder / "compare/timing.csv", "model == 'vae'", images_per_second=20.0)
    edit_csv(reports.folder / "stability/runs.csv", "model == 'gan'", diverged_at=float("nan"), accuracy=0.96)
    edit_csv(reports.folder / "stability/runs.csv", "model == 'vae' and seed == 1", accuracy=0.4)
    wrong = {key for key, e in table_of_the_lesson(reports, params).items() if e.verdict == claims.DISAGREES}
    assert wrong == {
        *(("Training stability", model) for model in ("GAN", "VAE")),
        *(("Image quality", model) for model in ("Diffusion", "GAN", "VAE")),
        *(("Mode coverage", model) for model in ("GAN", "VAE")),
        ("Sampling speed", "VAE"),
    }
    answer = plain(compare.compare_section(reports, params).answer[0])
    assert "15 were measured and 7 agree" in answer and "GAN on mode coverage (“mode collapse”)" in answer


def test_the_density_of_diffusion_is_shown_where_it_was_measured(reports, params):
    row = {"kind": "test digits", "label": "class", "denoiser": "grey-aware", "method": "bound", "n": 128}
    row |= {"bits": 1.1, "error": 0.01}
    others = [{"label": "none", "method": "ODE", "bits": 1.2}, {"denoiser": "network", "bits": 1.0}, {"kind": "noise"}]
    write_csv(reports.folder / "score/bits.csv", [row, *(row | other for other in others)])
    entry = table_of_the_lesson(reports, params)["Density estimation", "Diffusion"]
    assert entry.verdict == claims.AGREES and plain(entry.measured) == (
        "1.100 ± 0.010 (variational bound, told the class) and 1.200 ± 0.010 (ODE, not told the class) "
        "bits per dimension"
    )
    answer = plain(compare.compare_section(reports, params).answer[-1])
    assert "Diffusion 1.100 ± 0.010" in answer and "VAE 1.280 ± 0.012 (importance-weighted" in answer


def test_an_entry_is_open_without_what_measures_it(reports, params):
    shutil.rmtree(reports.folder / "stability")
    shutil.rmtree(reports.folder / "score")
    entries = table_of_the_lesson(reports, params)
    assert {key for key, entry in entries.items() if entry.verdict == claims.OPEN} == {
        *(("Training stability", model) for model in ("Diffusion", "GAN", "VAE")),
        ("Density estimation", "Diffusion"),
    }


def test_latents_are_held_against_pixels(reports, params):
    assert costs(reports)["training"] == pytest.approx(547.8 / 262.7)
    assert costs(reports)["sample"] == pytest.approx((1.08 / 16) / (0.62 / 16))
    answer = plain(latent.cost_answer(reports))
    assert "Latents of 4 × 7 × 7 numbers stand for 784 pixel values, 4.00 times as many" in answer
    assert "costs 0.480 times what it costs in pixel space, a sample 0.574 times" in answer and "80.5 s" in answer
    answer = plain(latent.quality_answer(reports, params))
    assert (
        "After 76,800 images seen in 2 min 20 s (76,800 in 4 min 52 s in pixel space): FID 60.2 against 41.4" in answer
    )
    assert "reads 97.5 % of 1,000 reconstructed test images right, 98.6 % of the real ones" in answer
    edit_json(reports.folder / "sample_latent/metrics.json", fid=None, reconstructed={"fid": None})
    assert "pixel space): class accuracy 93.0 %" in plain(latent.quality_answer(reports, params))


def test_a_clock_that_is_a_little_faster_makes_nothing_cheaper(reports):
    """Two clocks that were read minutes apart on a shared machine differ by a fifth with nothing between them."""
    verdicts = []
    for seconds in (0.62, 1.00, 1.20):  # in pixels 1.08
        edit_json(reports.folder / "sample_latent/timing.json", seconds=seconds)
        _, text, verdict = next(claims.latent_claims(reports))
        verdicts.append(verdict)
    assert verdicts == [claims.AGREES, claims.DISAGREES, claims.DISAGREES]
    assert "0.900 times as many samples" in text and "cheaper from 1.25 times on" in text


def test_larger_images_are_shown_only_where_they_were_measured(reports):
    text, rows = latent.larger_blocks(reports)
    assert "At 28 pixels a side latents train on 1.80 times" in plain(text.text) and "56 on 7.50 times" in text.text
    assert "at 28 latents have FID 40.0, pixels 20.0 and at 56 latents have FID 41.0, pixels 61.0" in plain(text.text)
    assert len(rows.rows) == 6
    (reports.folder / "larger/about.json").unlink()
    assert latent.larger_blocks(reports) == []


def test_a_study_of_density_is_shown_only_where_it_was_made(reports):
    text, rows = density.study_blocks(reports)
    assert "on 60,000 images and for 40 min 00 s of one core" in plain(text.text)
    assert "pays 0.8000 ± 0.0060 (n = 2,000) by the variational bound" in plain(text.text) and len(rows.rows) == 3
    (reports.folder / "density/timing.json").unlink()
    assert density.study_blocks(reports) == []


def test_prompts_hold_only_where_they_do(reports):
    path = reports.folder / "sample_latent/prompts.csv"
    answer = plain(prompts.prompts_answer(reports.table("sample_latent/prompts.csv")))
    assert "at w = 2: class 95.0 %, thickness 72.0 %, slant 70.0 % and width 68.0 % right" in answer
    assert "held out is right in 75.0 %" in answer and "each property at least 60.0 %) is met" in answer
    edit_csv(path, "group == 'unseen'", width=0.5, accuracy=0.8)
    answer = prompts.prompts_answer(reports.table("sample_latent/prompts.csv"))
    assert "is missed by width and class" in answer


def test_tiles_of_a_sheet_are_the_pictures_that_it_was_made_of(tmp_path):
    pictures = torch.randint(0, 256, (6, 1, 5, 4), dtype=torch.uint8)
    save_sheet(tmp_path / "sheet.png", pictures, 3, scale=1)
    tiles = Reports(tmp_path).tiles("sheet.png", 2, 3)
    assert tiles.shape == (2, 3, 5, 4) and (tiles.reshape(6, 5, 4) == pictures[:, 0].numpy()).all()


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
    assert plain(wording.number(value)) == NUMBERS[value]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.447, "0.447 s"), (21.4, "21.4 s"), (292.4, "4 min 52 s"), (20140.2, "5 h 35 min")]
)
def test_durations_read_well(seconds, text):
    assert plain(wording.duration(seconds)) == text


def test_a_spread_has_the_decimals_of_its_error():
    assert plain(wording.spread(12.8412, 0.431)) == "12.84 ± 0.43"
    assert plain(wording.spread(0.1, None)) == "0.100" and wording.spread(None, None) == wording.MISSING


def test_the_report_needs_no_torch():
    code = "import sys, diffusion.report.builder; sys.exit('torch' in sys.modules)"
    source = Path(overview.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(source)}).returncode == 0
