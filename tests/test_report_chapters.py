"""What the chapters' pages say: every sentence follows from the numbers."""

import shutil
from pathlib import Path

import literal_reports as literal
import pandas as pd
import pytest
from run_reports import edit_csv, edit_json, reports_in, write_csv
from test_report_words import changed, plain

from report.baselines import density, lesson_table
from report.claims import AGREES, DISAGREES, OPEN
from report.latent import comparison, larger, prompts
from report.latent.claims import latent_claims
from report.reading import Reports
from report.score import inpainting, inversion, known_scores, likelihood, likelihood_study, samplers
from report.score.claims import score_claims
from report.studies import DENSITY, in_place
from report.wording import MISSING


@pytest.fixture
def reports(built, tmp_path) -> Reports:
    """A copy whose files a test may change."""
    return reports_in(Path(shutil.copytree(built, tmp_path / "reports")), "score")


def test_the_error_of_a_learned_score_is_that_of_the_worse_mixture():
    errors = changed(literal.mixture_errors(), "mixture == 'ring' and log_snr == 5", error=1.5)
    sentence = plain(known_scores.field_answer(errors))
    assert "3.3 % of the score's size where the points are at log-SNR −3.0, and 50.0 % at log-SNR 5.0" in sentence


def test_samplers_of_the_score_are_the_best_of_their_kind():
    rows = literal.score_samplers()
    sentence = plain(samplers.samplers_answer(rows))
    assert "KID on n = 200: Euler–Maruyama 0.600 with 100 network evaluations per image (97.0 %" in sentence
    assert "the adaptive solver 0.440 with 61 network evaluations" in sentence
    better = samplers.samplers_answer(changed(rows, "sampler == 'heun'", kid=0.1))
    assert "Heun 0.100 with 39 network evaluations" in plain(better)
    assert "by its score, FID on" in plain(samplers.samplers_answer(rows.assign(fid=12.0)))


def test_bits_are_given_by_bound_and_ode_of_the_same_images():
    sentence = plain(likelihood.bits_answer(literal.bits(), "digit", is_mnist=True))
    assert "test digits cost 1.350 ± 0.030 (n = 128) by the variational bound of the unconditional model" in sentence
    assert "1.300 ± 0.030 (n = 128) by the class-conditional one, and 1.570 ± 0.030" in sentence
    assert "ODE they cost 1.450 ± 0.030 (n = 32), where the bound gives 1.550 ± 0.030 (n = 32)" in sentence
    assert "pixels shuffled 5.200 ± 0.030 and uniform noise 9.100 ± 0.030" in sentence and "on MNIST" in sentence
    for noun in ("garment", "digit"):  # there are other digits than those of MNIST
        assert "on MNIST" not in likelihood.bits_answer(literal.bits(), noun, is_mnist=False)


def test_a_study_of_density_is_shown_only_where_it_was_made(reports):
    edit_json(reports.folder / "density/about.json", images=60_000, steps=20_000, cpu_seconds=2400)
    edit_csv(reports.folder / "density/density.csv", "method == 'bound'", n=2000, bits=0.8, error=0.006)
    text, rows, _ = in_place(DENSITY, likelihood_study.findings, reports, {})
    assert "on 60,000 images and for 40 min 00 s of one core" in plain(text.text)
    assert "pays 0.8000 ± 0.0060 (n = 2,000) by the variational bound" in plain(text.text) and len(rows.rows) == 3
    (reports.folder / "density/timing.json").unlink()
    assert in_place(DENSITY, likelihood_study.findings, reports, {}) == []


def test_the_way_back_is_told_for_the_fewest_and_the_most_steps(reports):
    rows = reports.table("score/inversion.csv").assign(steps=[10, 100], rms_error=[0.2, 0.02], error=0.01)
    sentence = plain(inversion.inversion_answer(rows, "digit"))
    assert "test digits turned into noise and back differ by 0.200 ± 0.010 with 10 steps and by 0.020" in sentence


def test_what_is_completed_is_told_beside_a_single_pass():
    rows = pd.DataFrame({"passes": [1, 5, 0], "calls": [50, 250, 0], "n": 100, "draws": [8, 8, 1]})
    rows = rows.assign(accuracy=[0.61, 0.8, 0.99], spread=[0.4, 0.3, 0.0])
    sentence = plain(inpainting.inpainting_answer(rows, "digit"))
    assert "the class of the whole in 80.0 % of the draws, unconditional (n = 100, 8 draws each)" in sentence
    assert "5 times, as RePaint does, changes that by more than chance: 61.0 % in one pass" in sentence
    few = plain(inpainting.inpainting_answer(rows.assign(n=20), "digit"))
    assert "does not change that by more than chance" in few


def test_the_claim_about_the_score_agrees_only_where_it_does():
    errors = literal.mixture_errors()
    assert [claim.verdict for claim in score_claims(errors)] == [AGREES]
    assert [claim.verdict for claim in score_claims(errors.assign(error=2.0))] == [DISAGREES]


@pytest.fixture
def latents(reports) -> Reports:
    """Clocks and quality of latents and pixels with round numbers."""
    folder = reports.folder
    edit_json(folder / "train/timing.json", images_per_second=262.7, seconds=292.4)
    edit_json(folder / "train_latent/timing.json", images_per_second=547.8, seconds=140.2)
    edit_json(folder / "autoencoder/timing.json", seconds=80.5)
    edit_json(folder / "autoencoder/metrics.json", image_shape=[1, 28, 28], latent_shape=[4, 7, 7])
    edit_json(folder / "sample_latent/timing.json", seconds=0.62, images=16, calls=50)
    judge = {"real": 0.986, "reconstructed": 0.975, "n": 1000}
    edit_json(folder / "sample_latent/metrics.json", accuracy=0.93, judge=judge)
    literal.write_samplers(reports)
    return reports


def test_latents_are_compared_with_pixels(latents, page_params):
    trained = {"steps": 1200, "batch_size": 64}
    params = page_params["latent"] | {"train": trained, "train_latent": trained}
    assert comparison.costs(latents)["training"] == pytest.approx(547.8 / 262.7)
    assert comparison.costs(latents)["sample"] == pytest.approx((1.08 / 16) / (0.62 / 16))
    sentence = plain(comparison.cost_answer(latents))
    assert "Latents of 4 × 7 × 7 numbers stand for 784 pixel values, 4.00 times as many" in sentence
    assert "costs 0.480 times what it costs in pixel space, a sample 0.574 times" in sentence and "80.5 s" in sentence
    sentence = plain(comparison.quality_answer(latents, params))
    assert (
        "After 76,800 images seen in 2 min 20 s (76,800 in 4 min 52 s in pixel space): FID 60.2 against 41.4"
        in sentence
    )
    assert "classifies 97.5 % of 1,000 reconstructed test images correctly, 98.6 % of the real ones" in sentence
    edit_json(latents.folder / "sample_latent/metrics.json", fid=None, reconstructed={"fid": None})
    assert ", recall 0.90 against 0.90 (n = 1,000 and 1,000)" in sentence
    assert "pixel space): class accuracy 93.0 %" in plain(comparison.quality_answer(latents, params))


def test_a_clock_that_is_a_little_faster_makes_nothing_cheaper(latents):
    """Two clocks that were read minutes apart on a shared machine differ by a fifth with nothing between them."""
    verdicts = []
    for seconds in (0.62, 1.00, 1.20):  # in pixels 1.08
        edit_json(latents.folder / "sample_latent/timing.json", seconds=seconds)
        _, text, verdict = next(latent_claims(latents))
        verdicts.append(verdict)
    assert verdicts == [AGREES, DISAGREES, DISAGREES]
    assert "0.900 times as many samples" in text and "cheaper from 1.25 times on" in text


def test_larger_images_are_shown_only_where_they_were_measured(latents):
    rows = literal.larger()
    sentence = plain(larger.larger_answer(rows))
    assert "At 28 pixels a side latents train on 1.80 times" in sentence and "56 on 7.50 times" in sentence
    assert "at 28 latents have FID 40.0, pixels 20.0 and at 56 latents have FID 41.0, pixels 61.0" in sentence
    path = latents.folder / "larger/larger.csv"
    for rate, verdict in ((900.0, AGREES), (100.0, DISAGREES)):
        write_csv(path, changed(rows, "size == 56 and space == 'latent'", images_per_second=rate))
        assert [claim.verdict for claim in latent_claims(latents)][1] == verdict
    (latents.folder / "larger/about.json").unlink()
    assert larger.section(latents, {}) is None and len([*latent_claims(latents)]) == 1


def test_prompts_hold_only_where_they_do():
    sentence = plain(prompts.prompts_answer(literal.prompts()))
    assert "at w = 2: class 95.0 %, thickness 72.0 %, slant 70.0 % and width 68.0 % correct" in sentence
    assert "the held-out property itself is correct in 75.0 %" in sentence
    assert "each property at least 60.0 %) is met" in sentence
    missed = changed(literal.prompts(), "group == 'unseen'", width=0.5, accuracy=0.8)
    assert "is missed by width and class" in prompts.prompts_answer(missed)


def test_accuracy_of_prompts_stands_beside_recall_or_the_reason_for_none():
    rows = literal.prompts()
    assert "; n = 300 is too few for a recall; the held-out" in plain(prompts.prompts_answer(rows))
    assert "; recall 0.81; the held-out" in plain(prompts.prompts_answer(rows.assign(recall=0.81)))
    shown = prompts.prompts_table(rows)
    column = shown.headings.index("Recall")
    assert {row[column].text for row in shown.rows} == {MISSING} and "none below 500 samples" in shown.caption


def test_the_page_suggests_a_prompt_of_its_own_data(reports):
    texts = ["wide big-cat slanted to the left", "big-cat", "a thin big-cat", "an upright big-cat"]
    write_csv(reports.folder / "captions/captions.csv", [{"class": "big cat", "caption": text} for text in texts])
    assert prompts.known_prompt(reports) == "a thin big-cat"


@pytest.fixture
def compared(reports) -> Reports:
    literal.write_comparison(reports)
    literal.write_stability(reports)
    return reports


def entries(reports: Reports) -> dict[tuple[str, str], lesson_table.Entry]:
    return {(entry.name, entry.model): entry for entry in lesson_table.judged(reports)}


def test_the_lessons_table_stands_beside_the_measured_one(compared, page_params):
    found = entries(compared)
    assert len(found) == 15 and {entry.verdict for entry in found.values()} == {AGREES}
    assert "1 of 6 runs failed" in plain(found["Training stability", "GAN"].measured)
    assert plain(found["Sampling speed", "Diffusion"].measured).startswith("3.10 with 1,000 NFE, 62.0 with 50 NFE")
    section = lesson_table.section(compared, page_params["baselines"])
    assert plain(section.answer[0]) == "Of 15 entries of the lesson's table 15 were measured and 15 agree."


def test_entries_that_the_measurements_contradict_are_named(compared):
    folder = compared.folder
    edit_csv(folder / "compare/quality.csv", "model == 'gan'", fid=5.0, precision=0.5, coverage_within=0.93)
    edit_csv(folder / "compare/quality.csv", "model == 'vae'", sharpness=0.99, classes=8)
    edit_csv(folder / "compare/timing.csv", "model == 'vae'", images_per_second=20.0)
    edit_csv(folder / "stability/runs.csv", "model == 'gan'", diverged_at=float("nan"), accuracy=0.96)
    edit_csv(folder / "stability/runs.csv", "model == 'vae' and seed == 1", accuracy=0.4)
    found = entries(compared)
    assert {key for key, entry in found.items() if entry.verdict == DISAGREES} == {
        *(("Training stability", model) for model in ("GAN", "VAE")),
        *(("Image quality", model) for model in ("Diffusion", "GAN", "VAE")),
        *(("Mode coverage", model) for model in ("GAN", "VAE")),
        ("Sampling speed", "VAE"),
    }
    sentence = plain(lesson_table.verdict_answer([*found.values()]))
    assert "15 were measured and 7 agree" in sentence and "GAN on mode coverage (“mode collapse”)" in sentence


def test_the_density_of_diffusion_is_shown_where_it_was_measured(compared, page_params):
    row = {"kind": "test images", "label": "class", "denoiser": "grey-aware", "method": "bound", "n": 128}
    row |= {"bits": 1.1, "error": 0.01}
    others = [{"label": "none", "method": "ODE", "bits": 1.2}, {"denoiser": "network", "bits": 1.0}, {"kind": "noise"}]
    write_csv(compared.folder / "score/bits.csv", [row, *(row | other for other in others)])
    entry = entries(compared)["Density estimation", "Diffusion"]
    assert entry.verdict == AGREES and plain(entry.measured) == (
        "1.100 ± 0.010 (variational bound, class-conditional) and 1.200 ± 0.010 (ODE, unconditional) bits per dimension"
    )
    sentence = plain(density.section(compared, page_params["baselines"]).answer[0])
    assert "Diffusion 1.100 ± 0.010" in sentence and "VAE 1.280 ± 0.012 (importance-weighted" in sentence


def test_an_entry_is_open_without_what_measures_it(compared):
    shutil.rmtree(compared.folder / "stability")
    shutil.rmtree(compared.folder / "score")
    assert {key for key, entry in entries(compared).items() if entry.verdict == OPEN} == {
        *(("Training stability", model) for model in ("Diffusion", "GAN", "VAE")),
        ("Density estimation", "Diffusion"),
    }
