"""The playground in a real browser, held against the library: an untrained model, all of which has an effect."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from run_reports import HOSTILE
from test_onnx import restless

from diffusion.data import Dataset, load_split, save_split, to_float
from diffusion.denoiser import Denoiser, load_denoiser, record_evaluations, save_denoiser
from diffusion.nets.table import build_net
from diffusion.samplers.table import SamplerSetting
from diffusion.schedule import SPACINGS, noise_schedule
from diffusion.target import TARGETS
from playground import onnxruntime_web
from playground.onnxruntime_web import installed
from playground.page import build

ROOT = Path(__file__).resolve().parents[1]
SHAPE, TIMESTEPS, NAMES = (3, 8, 8), 50, HOSTILE[:3]
SCHEDULES = ("linear", "cosine", "sigmoid", "linear_zero_snr", "flow")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained denoiser of colour images in three classes with names that a page might take for markup."""
    net = {"image_size": 8, "image_channels": 3, "num_classes": 3, "patch": 1, "channels": [8, 16], "blocks": 1}
    net |= {"attention_heads": 2, "dropout": 0.0}
    path = tmp_path_factory.mktemp("playground") / "denoiser.safetensors"
    description = {"net": net, "schedule": "cosine", "timesteps": TIMESTEPS, "target": "v", "class_names": NAMES}
    save_denoiser(path, restless(build_net(net)).state_dict(), description)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    images = torch.randint(256, (6, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    save_split(folder / "test.safetensors", Dataset(images, torch.arange(6) % 3, tuple(NAMES)), {})
    return folder


@pytest.fixture(scope="module")
def address(model, data, tmp_path_factory) -> str:
    pytest.importorskip("onnx", reason="onnx is not installed")
    try:
        runtime = installed()
    except ValueError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("page") / "playground.html"
    build(model, data, out, runtime)
    return out.as_uri()


@pytest.fixture
def open_ready(open_page):
    """Opens the page, and waits for its first images."""

    def open_ready(width: int = 1280, scheme: str = "light"):
        page = open_page(width, scheme)
        page.get_by_role("status").filter(has_text="Ready").wait_for()
        return page

    return open_ready


@pytest.fixture(scope="module")
def scripts(browser, address):
    """A page for what its scripts compute, rather than for what can be seen."""
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("status").filter(has_text="Ready").wait_for()
    yield page
    page.close()


@pytest.fixture(scope="module")
def denoiser(model) -> Denoiser:
    return load_denoiser(model, torch.device("cpu"), "fp32")[0]


def test_images_are_those_of_the_library_from_the_same_noise(scripts, denoiser):
    """Every sampler, with guidance everywhere, somewhere and nowhere, of a class and of none."""
    from benchmarks.playground import Asked, compare

    for asked in [
        Asked(SamplerSetting("ddpm", TIMESTEPS), 1),
        Asked(SamplerSetting("ddim", 10)),
        Asked(SamplerSetting("ddim", 1, 0.0), scale=0.0),
        Asked(SamplerSetting("ddim", 7, 0.5, "karras"), 2, scale=3.0),
        Asked(SamplerSetting("dpmpp_2m", 10), 0, scale=2.5, interval=(-3.0, 1.0)),
        Asked(SamplerSetting("dpmpp_2m", 12, None, "log_snr"), 1, scale=4.0),
    ]:
        with record_evaluations(denoiser) as sizes:
            found = compare(scripts, denoiser, SHAPE, asked, seed=7)
        assert found.difference < 1e-3 and found.evaluations == sum(sizes), asked


@pytest.mark.parametrize("name", SCHEDULES)
def test_times_and_levels_are_those_of_the_library(scripts, name):
    schedule = noise_schedule(name, TIMESTEPS)
    counts = [1, 2, 7, 16, 20, TIMESTEPS]
    for spacing, times in SPACINGS.items():
        found = scripts.evaluate(f"(counts) => counts.map((n) => SPACINGS.{spacing}(SCHEDULES.{name}, n))", counts)
        for count, row in zip(counts, found, strict=True):
            assert row == pytest.approx(times(schedule, count), abs=1e-9), (spacing, count)
    real = [0.0, 0.25, 1.0, 17.5, TIMESTEPS - 0.5, float(TIMESTEPS)]
    found = scripts.evaluate(f"(times) => times.map((t) => SCHEDULES.{name}.alpha_bar_at(t))", real)
    assert found == pytest.approx(schedule.alpha_bar_at(torch.tensor(real, dtype=torch.float64)).tolist(), abs=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_gives_the_x_0_of_the_library(scripts, target):
    x_t, prediction = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    found = scripts.evaluate(
        f"([x_t, prediction]) => Array.from(TARGETS.{target}(x_t, prediction, 0.6, 0.8))",
        [x_t.tolist(), prediction.tolist()],
    )
    assert found == pytest.approx(TARGETS[target].to_x_0(x_t, prediction, 0.6, 0.8).tolist(), abs=1e-6)


def test_noise_is_standard_normal_and_follows_from_the_seed(scripts):
    draw = "(seed) => Array.from(normals(seed, 20000).next().value)"
    first, again, other = (torch.tensor(scripts.evaluate(draw, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    for draws in (first, other):
        assert draws.mean().abs() < 0.03 and abs(draws.std() - 1) < 0.03 and (draws.abs() > 1.96).float().mean() < 0.06
    assert torch.corrcoef(torch.stack([first, other]))[0, 1].abs() < 0.03


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_its_width_loads_nothing_and_says_nothing_to_the_console(open_ready, address, width, scheme):
    page = open_ready(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.heard == [] and page.asked == [address]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0]
    assert (int(paper) < 40) == (scheme == "dark")
    page.evaluate("fetch('https://example.invalid/').catch(() => null)")
    assert any("Content Security Policy" in message for message in page.heard)


def test_pictures_have_alternatives_controls_have_labels_and_names_are_text(open_ready):
    page = open_ready()
    assert page.locator("canvas").count() >= 10
    assert page.locator("canvas:not([aria-label]), svg[role=img]:not([aria-label])").count() == 0
    unnamed = (
        "Array.from(document.querySelectorAll('input, select')).filter(c => !c.labels.length && !c.ariaLabel).length"
    )
    assert page.evaluate(unnamed) == 0
    assert page.locator("#label-A option").all_text_contents() == [*NAMES, "none"]
    assert page.locator("b, main h1").count() == 0


def picture(page, selector: str) -> list[int]:
    read = "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    return page.locator(selector).first.evaluate(read)


def test_a_keyboard_moves_the_guidance_and_the_image_follows(open_ready):
    page = open_ready()
    cost, before = page.locator("#side-A .cost"), picture(page, "#side-A .x_t")
    assert "10 steps, 10 network evaluations" in cost.inner_text()
    page.locator("#scale-A").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    cost.filter(has_text="10 steps, 20 network evaluations").wait_for()
    assert page.locator(".scale output").first.inner_text() == "2"
    assert page.locator("#scale-A").get_attribute("aria-valuetext") == "2"
    assert picture(page, "#side-A .x_t") != before
    page.locator("#label-A").select_option(label="none")
    cost.filter(has_text="10 steps, 10 network evaluations").wait_for()
    assert page.locator("#scale-A").is_disabled() and page.locator("#scale-B").is_enabled()


def test_both_settings_start_from_one_noise_and_the_scrubber_goes_back_to_it(open_ready):
    page = open_ready()
    assert picture(page, "#side-A .x_t") != picture(page, "#side-B .x_t")
    for side in ("A", "B"):
        page.locator(f"#step-{side}").focus()
        page.keyboard.press("Home")
        assert page.locator(f"#side-{side} .t").inner_text() == str(TIMESTEPS)
        assert page.locator(f"#side-{side} .scrub output").inner_text() == "0 of 10"
    start = picture(page, "#side-A .x_t")
    assert start == picture(page, "#side-B .x_t")
    page.locator("#step-A").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    level = noise_schedule("cosine", TIMESTEPS).alpha_bar[30].item()
    assert page.locator("#side-A .t").inner_text() == "30"
    assert float(page.locator("#side-A .alpha_bar").inner_text()) == pytest.approx(level, rel=0.01)
    assert float(page.locator("#side-A .snr").inner_text()) == pytest.approx(level / (1 - level), rel=0.01)
    page.get_by_label("Seed of the noise").fill("5")
    page.locator("#step-A").focus()
    page.keyboard.press("Home")
    assert picture(page, "#side-A .x_t") != start


def test_playing_goes_from_noise_to_the_image(open_ready):
    page = open_ready()
    page.evaluate("play()")
    page.locator("#side-A .scrub output").filter(has_text="0 of 10").wait_for()
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()


def test_ddpm_takes_all_steps_and_eta_is_for_ddim_alone(open_ready):
    page = open_ready()
    page.locator("#sampler-A").select_option("ddpm")
    page.locator("#side-A .cost").filter(has_text=f"{TIMESTEPS} steps").wait_for()
    assert all(page.locator(f"#{name}-A").is_disabled() for name in ("steps", "spacing", "eta"))


def test_the_forward_process_starts_at_the_test_image_and_shows_every_schedule(open_ready, data):
    page = open_ready()
    assert page.locator("#schedules figure").count() == len(SCHEDULES) + 1
    time = page.locator("#time")
    time.focus()
    page.keyboard.press("Home")
    chosen = int(page.locator("#images input:checked").get_attribute("value"))
    image = load_split(data / "test.safetensors").images[chosen]
    rgba = torch.tensor(picture(page, "#schedules canvas")).reshape(8, 8, 4)
    assert torch.equal(rgba[..., :3].permute(2, 0, 1), image.long())
    page.keyboard.press("End")
    noised = picture(page, "#schedules canvas")
    eps = torch.tensor(page.evaluate("Array.from(normals(0, SIZE).next().value)")).reshape(SHAPE)
    x_t = noise_schedule("linear", TIMESTEPS).q_sample(to_float(image)[None], TIMESTEPS, eps)[0]
    expected = ((x_t + 1) * 127.5).clamp(0, 255).round()
    assert (torch.tensor(noised).reshape(8, 8, 4)[..., :3].permute(2, 0, 1) - expected).abs().max() <= 1


def test_a_package_with_other_bytes_is_refused(monkeypatch, tmp_path):
    (tmp_path / "package.tgz").write_bytes(b"something else")
    monkeypatch.setattr(onnxruntime_web, "_packed", lambda folder: tmp_path / "package.tgz")
    monkeypatch.setattr(onnxruntime_web, "FOLDER", tmp_path / "share")
    with pytest.raises(ValueError, match="npm brought sha512-"):
        onnxruntime_web.install()
    assert not (tmp_path / "share").exists()


def test_a_model_of_other_images_is_refused_in_a_line(model, tmp_path):
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    save_split(tmp_path / "test.safetensors", Dataset(images, torch.arange(2), ("a", "b")), {})
    with pytest.raises(ValueError, match="made for images of 8x8, 3 channels, 3 classes; the data are"):
        build(model, tmp_path, tmp_path / "page.html", onnxruntime_web.Runtime("", b""))


def test_the_command_says_in_a_line_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "playground", "--model", str(tmp_path / "none.safetensors")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
