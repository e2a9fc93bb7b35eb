"""Pictures: the same bytes for the same data, no traces of a version, and pixels that are those of the data."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from report.plots.confusion import confusions
from report.plots.grid import picture_grid
from report.plots.guidance import fidelity_by_limit, fidelity_coverage, measures_by_scale
from report.plots.samplers import Panel, quality_by_calls, speed_quality
from report.plots.schedules import recognisability_curves, schedule_curves
from report.plots.score import by_noise_level, score_fields, trajectories
from report.plots.sheet import labelled_sheet
from report.plots.style import LINES, Look, line
from report.plots.training import training_loss, training_losses

T = np.arange(1, 11)
CURVES = {
    "linear": pd.DataFrame({"t": T, "snr": 0.5**T}),
    "cosine": pd.DataFrame({"t": T, "snr": np.where(T < 10, 0.7**T, 0)}),
}
SEEN = pd.DataFrame({"schedule": ["linear"] * 10, "t": T, "log_snr": -T, "accuracy": 1 / T})
POINTS = pd.DataFrame(
    {
        "label": ["DDIM", "DDIM", "DDPM"],
        "calls": [10, 50, 1000],
        "seconds": [0.2, 1, 20],
        "value": [2, 1, 1],
        "error": [0.1, np.nan, 0.2],
    }
)
UNMEASURED = POINTS.assign(value=[2, 1, np.nan])
LOOKS = {"DDIM": Look("#0072B2", LINES[1], "s", "left"), "DDPM": Look("#000000", LINES[0], "o")}
SCALES = pd.DataFrame(
    {"scale": [0.0, 1.0, 7.5], "accuracy": [0.1, 0.9, 1], "precision": 0.9, "coverage": [0.8, 0.8, 0.4]}
)
GRID = pd.DataFrame([(x, y) for x in (-1.0, 0, 1) for y in (-1.0, 0, 1)], columns=["x", "y"])
FIELD = GRID.assign(true_x=-GRID["x"], true_y=-GRID["y"], learned_x=0.1, learned_y=-GRID["y"], t=5.0)
FIELDS = pd.concat([FIELD.assign(mixture=name, log_snr=level) for name in ("a", "b") for level in (4, 1)])
WAYS = pd.DataFrame({"path": [0, 0, 1, 1], "t": [9, 0, 9, 0], "x": [0.0, 1, 2, 1], "y": [1.0, 0, 1, 2]})
PATHS = pd.concat([WAYS.assign(mixture=name, sampler="heun") for name in ("a", "b")])
PLACES = pd.concat([WAYS.assign(mixture=name, sampler="mixture") for name in ("a", "b")])
LEVELS = pd.DataFrame(
    {"kind": ["a", "a", "b", "b"], "log_snr": [-1.0, 1, -1, 1], "value": [1.0, 2, 3, 4], "error": 0.1}
)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
DRAWINGS = {
    "curves": lambda path: schedule_curves(path, CURVES, "snr", "SNR", log_scale=True),
    "grid": lambda path: picture_grid(path, IMAGES, ["a", "b", "c"], ["x", "y"], [["1", "2", "3"]] * 2),
    "colour grid": lambda path: picture_grid(path, np.stack([IMAGES] * 3, axis=-1), ["a", "b", "c"]),
    "recognisability": lambda path: recognisability_curves(path, SEEN, 0.1),
    "loss": lambda path: training_loss(path, pd.DataFrame({"step": T, "loss": 1 / T}), "loss"),
    "losses": lambda path: training_losses(
        path, {name: pd.DataFrame({"step": T, "loss": 1 / T}) for name in LOOKS}, LOOKS, "loss"
    ),
    "speed": lambda path: speed_quality(path, Panel("KID", POINTS, 0.0, 0.1), LOOKS, "seconds"),
    "speed alone": lambda path: speed_quality(path, Panel("FID", UNMEASURED, None, 0.0), LOOKS, "seconds"),
    "calls": lambda path: quality_by_calls(
        path, [Panel("KID", POINTS, 0.0, 0.1), Panel("FID", POINTS, None, 0.0)], LOOKS
    ),
    "tradeoff": lambda path: fidelity_coverage(path, SCALES, {"coverage": 0.9, "precision": 0.9}),
    "tradeoff, no floor": lambda path: fidelity_coverage(path, SCALES, {"coverage": None, "precision": None}),
    "limits": lambda path: fidelity_by_limit(path, SCALES.assign(limit=["everywhere", "everywhere", "interval"])),
    "scales": lambda path: measures_by_scale(path, SCALES, {"accuracy": "accuracy", "coverage": "coverage"}),
    "fields": lambda path: score_fields(path, FIELDS),
    "one field": lambda path: score_fields(path, FIELD.assign(mixture="a", log_snr=1)),
    "ways": lambda path: trajectories(path, PATHS, PLACES, {"heun": "Heun"}),
    "levels": lambda path: by_noise_level(path, LEVELS, "kind", "bits", log_scale=True),
    "confusions": lambda path: confusions(path, {str(k): np.eye(3) * k for k in range(4)}, ["a", "b", "a long name"]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_data_give_the_same_bytes(name, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "below" / "second.png"
    DRAWINGS[name](first)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}):  # a style of the caller's own
        DRAWINGS[name](second)
    assert first.read_bytes() == second.read_bytes()
    assert set(Image.open(first).info) <= {"dpi"}
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", DRAWINGS)
def test_no_text_is_a_formula(name, tmp_path, monkeypatch):
    """A $ in the name of a class is a $, so a formula of our own would be shown as it is written."""
    texts, savefig = [], Figure.savefig

    def watched(figure, *arguments, **options):
        savefig(figure, *arguments, **options)
        texts.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", watched)
    DRAWINGS[name](tmp_path / "picture.png")
    assert texts and not any("$" in text for text in texts)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_labelled_sheet_keeps_every_pixel(mode, tmp_path):
    shape = (40, 60) if mode == "L" else (40, 60, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "sheet.png")
    labelled_sheet(tmp_path / "labelled.png", tmp_path / "sheet.png", ["one", "a longer name"], ["a", "b", "c"])
    labelled = np.asarray(Image.open(tmp_path / "labelled.png").convert("RGB"))
    inside = labelled[-46:-6, -66:-6]
    assert np.abs(inside.astype(int) - (pixels if mode == "RGB" else pixels[..., None])).max() <= 1


def test_labels_of_a_sheet_are_not_cut_off(tmp_path):
    Image.fromarray(np.zeros((20, 60), np.uint8)).save(tmp_path / "sheet.png")
    labelled_sheet(tmp_path / "labelled.png", tmp_path / "sheet.png", ["WWWW, 1,000 (2M)"])
    left = np.asarray(Image.open(tmp_path / "labelled.png").convert("L"))[:, :4]
    assert (left == 255).all()


def test_a_dark_sheet_is_not_stretched_to_white(tmp_path):
    Image.fromarray(np.full((20, 20), 40, np.uint8)).save(tmp_path / "sheet.png")
    labelled_sheet(tmp_path / "labelled.png", tmp_path / "sheet.png", [])
    assert np.asarray(Image.open(tmp_path / "labelled.png").convert("L"))[15, -16] == pytest.approx(40, abs=1)


def test_of_many_paths_a_few_are_drawn_and_each_grows_clearer(tmp_path):
    """From left to right through the middle: all of an SDE's paths, equally strong, hide each other."""
    way = pd.DataFrame({"t": np.linspace(100, 0, 21), "x": np.linspace(-2, 2, 21), "y": 0.0})
    paths = [way.assign(mixture="a", sampler="heun", path=k, y=k / 2) for k in range(6)]
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    trajectories(few, pd.concat(paths[:3]), PLACES.iloc[:0], {"heun": "Heun"})
    trajectories(many, pd.concat(paths), PLACES.iloc[:0], {"heun": "Heun"})
    assert few.read_bytes() == many.read_bytes()
    pixels = np.asarray(Image.open(few).convert("L")).astype(int)
    height, width = pixels.shape
    left, right = (pixels[height // 4 : 3 * height // 4, round(share * width)].min() for share in (0.3, 0.7))
    assert left > right + 50


def test_equal_curves_are_both_seen():
    widths = [line(index)["linewidth"] for index in range(5)]
    styles = [(line(index)["color"], str(line(index)["linestyle"])) for index in range(7)]
    assert widths[0] > widths[1] and len({style for _, style in styles}) == len({colour for colour, _ in styles}) == 7


def test_pictures_are_drawn_without_a_screen():
    assert matplotlib.get_backend().lower() == "agg"
