"""The recommended setting beside w = 1: from the same noise, each named as what it is, and autoguidance in words."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from literal_reports import VERDICT, guidance
from run_reports import reports_in, write_json

from benchmarks.recommended import DDIM, Row, rows_of
from diffusion.data import Dataset
from diffusion.denoiser import Denoiser, record_evaluations
from diffusion.nets.unet import UNet
from diffusion.samplers.table import SamplerSetting
from diffusion.schedule import noise_schedule
from report.spine import autoguidance
from report.spine.headline import headline, tiles
from report.spine.recommended import guidance_of, setting_of
from report.wording import NB
from stages import evaluate
from stages.params.params import Params
from stages.shared.samplers import sample_classes

ROOT = Path(__file__).resolve().parents[1]
PLAIN = VERDICT | {"fid": 8.3, "accuracy": 0.958, "sampler": "ddim", "eta": 0.0, "calls": 50.0}
BEST = PLAIN | {"fid": 7.0, "accuracy": 0.987, "sampler": "dpmpp_2m", "eta": None, "calls": 40.0, "coverage": 0.95}
BEST |= {"guidance": "autoguidance", "scale": 1.5, "interval": [-30.0, 30.0]}


def small_denoiser(seed):
    torch.manual_seed(seed)
    net = UNet(8, 1, 3, 1, [8], 1, 0, 0.0).eval().requires_grad_(False)
    for parameter in net.parameters():  # the last layer of every block starts at zero
        parameter.add_(0.05 * torch.randn(parameter.shape))
    return Denoiser(net, noise_schedule("linear", 100), "v")


@pytest.mark.parametrize(
    ("changes", "same", "calls"),
    [(["recommended.scale=1.0"], True, 4), (["recommended.scale=2.0"], False, 8), (["sampling.eta=1.0"], False, 8)],
)
def test_at_w_1_the_recommended_setting_with_the_verdicts_sampler_has_the_verdicts_images(
    monkeypatch, tmp_path, changes, same, calls
):
    """So both come from the same noise."""
    few = ["sampling.num_steps=4", "recommended.num_steps=4", "recommended.sampler=ddim", "evaluate.num_samples=16"]
    few += ["sampling.sampler_samples=16", "sampling.ddpm_samples=16", "recommended.interval=[-30.0,30.0]"]
    params = Params.load(ROOT).changed([*few, *changes])
    data = Dataset(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), tuple("abc"))
    reference = SimpleNamespace(train=data, seed=5, classes=lambda number: torch.arange(number) % 3)
    denoiser, early, made = small_denoiser(0), small_denoiser(1), []
    monkeypatch.setattr(evaluate, "judged", lambda reference, samples, setting, seen: (None, {"calls": sum(seen) / 16}))
    monkeypatch.setattr(evaluate, "write_by_class", lambda path, reference, samples: made.append(samples))
    evaluate.write_recommended(tmp_path, params, reference, denoiser, early)
    plain = sample_classes(denoiser, reference, 64, SamplerSetting(**params.sampling.setting()), 16)
    assert torch.equal(made[0], plain) == same
    written = reports_in(tmp_path, "index").record("recommended.json")
    assert written["calls"] == calls and written["guidance"] == "autoguidance"


def test_evaluations_of_both_networks_count():
    one, two = small_denoiser(0), small_denoiser(1)
    x, label = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    with record_evaluations(one, two) as seen:
        one(x, 9.0, label)
        two(x, 9.0, label)
    one(x, 9.0, label)
    assert seen == [2, 2]


def test_a_setting_is_named_by_sampler_guidance_and_cost():
    assert setting_of(PLAIN) == f"DDIM, 50{NB}NFE"
    assert setting_of(PLAIN | {"eta": 1.0}) == f"DDIM, η{NB}={NB}1, 50{NB}NFE"
    assert setting_of(BEST) == f"DPM-Solver++(2M), autoguidance with w = 1.5, 40{NB}NFE"
    assert guidance_of(BEST | {"scale": 1.0}) == []
    within = BEST | {"guidance": "classifier_free", "interval": [-3.0, 1.0]}
    assert guidance_of(within) == ["classifier-free guidance with w = 1.5 at log-SNR −3 to 1"]


def test_the_headline_tells_the_recommended_setting_from_w_1(tmp_path):
    write_json(tmp_path / "evaluate/metrics.json", PLAIN)
    write_json(tmp_path / "evaluate/recommended.json", BEST)
    write_json(tmp_path / "judge/metrics.json", {"accuracy": 0.99})
    write_json(tmp_path / "train/timing.json", {"seconds": 100.0, "parameters": 600_000})
    reports = reports_in(tmp_path, "index")
    text = headline(reports).replace(NB, " ")
    assert text.startswith(
        "In the recommended setting (DPM-Solver++(2M), autoguidance with w = 1.5, 40 NFE) 1,000 images"
    )
    assert (
        "score an FID of 7.00, no further from the test images" in text
        and "recognises 98.7 % (97.8 to 99.2) of them" in text
    )
    assert text.endswith(
        "From the same noise without guidance (w = 1), by DDIM, 50 NFE, FID is 8.30, and 95.8 % (94.4 to 96.9) are "
        "recognised, with a recall of 0.92."
    )
    fid, accuracy, _, coverage, _ = tiles(reports)
    assert fid.name == "FID, recommended setting" and (fid.value, accuracy.value) == ("7.00", f"98.7{NB}%")
    assert "w = 1: 8.30; real images" in fid.beside and coverage.beside == "w = 1: 0.93; real images 0.97"


def test_autoguidance_in_words_follows_from_the_figures():
    free = guidance().assign(recall=[0.9, 0.91, 0.6, 0.3])
    free["kind"] = ["classifier_free", "none", "classifier_free", "classifier_free"]
    auto = free[free["scale"] == 3].assign(kind="autoguidance", recall=0.9, coverage=0.85, accuracy=0.99)
    with_free, with_auto = autoguidance.sentences(pd.concat([free[free["scale"].isin([1, 3])], auto]))
    assert with_free.replace(NB, " ") == (
        "With classifier-free guidance at w = 3, class accuracy rises (95.8 % to 99.6 %), recall falls (0.91 to 0.60) "
        "and coverage falls (0.84 to 0.66)."
    )
    assert "With autoguidance at w = 3, class accuracy rises" in with_auto
    assert "recall stays (0.91 to 0.90) and coverage stays (0.84 to 0.85)" in with_auto
    assert autoguidance.sentences(auto) == [] and autoguidance.sentences(free) == []


def test_the_benchmark_names_its_rows_and_takes_both_settings_of_the_params():
    plain, best = rows_of(Params.load(ROOT).changed(["recommended.guidance=classifier_free", "recommended.scale=1.5"]))
    assert plain == Row(DDIM) and str(plain) == "ddim 50 w = 1"
    assert str(best).startswith("dpmpp_2m 20 classifier_free 1.5")
    assert str(Row(SamplerSetting("ddim", 50, 1.0))) == "ddim 50 eta 1 w = 1"
    assert str(Row(DDIM, "autoguidance", 2.0, (-3.0, 1.0))) == "ddim 50 autoguidance 2 at log-SNR -3..1"
