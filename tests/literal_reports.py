"""Small tables and records with round numbers, in the columns that stages and studies write, for tests of wordings."""

import numpy as np
import pandas as pd
from run_reports import edit_json, write_csv, write_json

from report.reading import Reports

VERDICT = {
    "n": 1000,
    "fid_floor": {"mean": 7.5, "std": 0.7, "draws": 5, "n": 1000},
    "kid": {"mean": 0.3, "std": 0.2},
    "kid_floor": {"mean": 0.0, "std": 0.1},
    "floor": {"precision": 0.95, "recall": 0.93, "clipped_density": 1.0, "coverage": 0.97},
    **{"precision": 0.9, "recall": 0.92, "clipped_density": 0.9, "coverage": 0.93},
}
SCHEDULES = {  # of reports/schedules/metrics.json
    "timesteps": 1000,
    "n": 1000,
    "accuracy_least_noise": 0.98,
    "schedule": "linear",
    "unrecognisable": {
        "linear": {"t": 611.4, "log_snr": -2.8, "snr": 0.0608},
        "cosine": {"t": 841.2, "log_snr": -2.8, "snr": 0.0608},
        "sigmoid": None,
    },
    "share_unrecognisable": {"linear": 0.4, "cosine": 0.2},
    "half_information": {"linear": 259.0, "cosine": 496.0},
    "nearly_gone": {"linear": 674.0, "cosine": 936.0},
    "alpha_bar_T": {"linear": 4e-5, "cosine": 2e-9},
    "left_out": {},
}
CHAIN = {"timesteps": 200, "alpha_bar_T": {"linear_unscaled": 0.1322, "linear": 3e-5}}


def recognised(n: int, share: float) -> str:
    """A column of tables where of n samples the first are recognised."""
    return "x" * round(n * share) + "." * (n - round(n * share))


def samplers() -> pd.DataFrame:
    """Samplers as stage `score` joins them from `evaluate` and `benchmark`."""
    rows = [
        # sampler, steps, eta, KID, accuracy, seconds
        ("ddpm", 1000, None, 0.41, 0.953, 21.4),
        ("ddim", 10, 0.0, 0.92, 0.938, 0.231),
        ("ddim", 50, 0.0, 0.44, 0.969, 1.08),
        ("ddim", 50, 0.5, 0.46, 0.953, 1.11),
        ("ddim", 50, 1.0, 0.61, 0.953, 1.12),
        ("dpmpp_2m", 10, None, 0.47, 0.953, 0.233),
    ]
    table = pd.DataFrame(rows, columns=["sampler", "steps", "eta", "kid", "accuracy", "seconds"])
    table = table.assign(recognised=[recognised(64, share) for share in table["accuracy"]])
    return table.assign(times="trailing", kid_std=0.1125, calls=table["steps"], images=16, repeats=3, busy=False)


def write_samplers(reports: Reports) -> None:
    """The same as the two stages write them."""
    quality, clock = ["kid", "kid_std", "accuracy", "recognised"], ["images", "calls", "seconds", "repeats"]
    key, table = ["sampler", "steps", "eta", "times"], samplers()
    table["recall"] = 0.9
    subsets = [
        table[[*key, *quality, "recall"]].assign(subset=subset, n=n, fid=None)
        for subset, n in (("all", 200), ("first", 64))
    ]
    write_csv(reports.folder / "evaluate/samplers.csv", pd.concat(subsets))
    rates = {"images_per_second": 16 / table["seconds"], "overhead": 1.02}
    write_csv(reports.folder / "benchmark/timing.csv", table[key + clock].assign(**rates))


def eta() -> pd.DataFrame:
    """Rows of evaluate/eta.csv."""
    rows = [(value, steps, 0.31 * value, 0.98 + 0.05 * value) for value in (0.0, 0.5, 1.0) for steps in (10, 50)]
    return pd.DataFrame(rows, columns=["eta", "steps", "rms_difference", "diversity"]).assign(n=200)


def guidance() -> pd.DataFrame:
    """Rows of guidance/metrics.csv."""
    columns = ["scale", "accuracy", "coverage", "diversity", "sharpness", "saturation", "calls_per_image"]
    rows = [
        (0.0, 0.104, 0.81, 1.44, 0.97, 0.12, 20),
        (1.0, 0.958, 0.84, 1.01, 0.98, 0.13, 20),
        (3.0, 0.996, 0.66, 0.78, 1.06, 0.24, 40),
        (7.5, 0.998, 0.38, 0.59, 1.21, 0.41, 40),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(n=500, recall=table["coverage"], recognised=[recognised(500, a) for a in table["accuracy"]])
    return table.assign(**{f"{name}_second": table[name] for name in ("accuracy", "recall", "recognised")})


def limited() -> pd.DataFrame:
    """Rows of guidance/limited.csv."""
    guided = guidance()[2:]
    interval = guided.assign(limit="interval", calls_per_image=27.0, coverage=[0.78, 0.7], saturation=0.2)
    return pd.concat([interval, guided.assign(limit="rescale", coverage=[0.68, 0.45], saturation=[0.18, 0.25])])


def frontier() -> pd.DataFrame:
    """Rows of frontier/frontier.csv."""
    settings = [
        # sampler, steps, eta, times, evaluations, FID
        ("ddim", 10, 0.0, "trailing", 10, 14.0),
        ("ddim", 50, 0.0, "trailing", 50, 12.2),
        ("heun", 5, None, "karras", 9, 13.1),
        ("dpmpp_2m", 10, None, "trailing", 10, 12.6),
        ("dpmpp_2m", 20, None, "trailing", 20, 12.1),
        ("dpmpp_2m", 10, None, "karras", 10, 13.4),
        ("ddpm", 1000, None, "trailing", 1000, 12.0),
    ]
    return _seeds(pd.DataFrame(settings, columns=["sampler", "steps", "eta", "times", "calls", "fid"]))


def distilled() -> pd.DataFrame:
    """Rows of frontier/distilled.csv."""
    students = [("teacher", 50, 12.2), ("student", 4, 14.1), ("student", 1, 30.5)]
    rows = pd.DataFrame([*students, ("mean_flow", 1, 61.0)])
    rows.columns = ["model", "steps", "fid"]
    return _seeds(rows.assign(sampler="ddim", eta=0.0, times="trailing", calls=rows["steps"]))


def write_frontier(reports: Reports) -> None:
    """Both, with the records that say which model they are of."""
    folder, measured = reports.folder / "frontier", {"seed": 0, "train": {"steps": 1200}}
    trained = {"updates": 5000, "seconds": 640}
    write_csv(folder / "frontier.csv", frontier())
    write_csv(folder / "distilled.csv", distilled())
    write_json(folder / "about.json", {"data": {"dataset": "digits"}, "model_md5": "0" * 32, "params": measured})
    write_json(folder / "distilled.json", {"model_md5": "0" * 32, "seconds": 612, "mean_flow": trained})


def write_exercises(reports: Reports) -> None:
    """The runs in the reports of the study, whose pictures stay."""
    folder, about = reports.folder / "exercises", reports.record("exercises/about.json")
    runs = {
        # loss, FID, accuracy, alpha_bar_T
        "linear 1000": (0.050, 8.0, 0.953, 4e-5),
        "linear 200": (0.051, 8.4, 0.949, 3e-5),
        "linear_unscaled 200": (0.060, 19.0, 0.871, 0.1296),
        "cosine 1000": (0.049, 7.5, 0.957, 2e-8),
        "flow 1000": (0.070, 7.7, 0.955, 0.0),
    }
    known = {f"{run['schedule']} {run['timesteps']}": name for name, run in about["changed"].items()}
    named = {known[key]: figures for key, figures in runs.items() if key in known}
    calls = {"calls": 50, "shown_calls": 50}
    metrics = {name: VERDICT | calls | {"fid": run[1], "accuracy": run[2]} for name, run in named.items()}
    write_json(folder / "metrics.json", metrics)
    edit_json(folder / "about.json", alpha_bar_T={name: run[3] for name, run in named.items()})
    history = [
        {"run": name, "step": step, "loss": run[0]} for name, run in named.items() for step in range(25, 500, 25)
    ]
    write_csv(folder / "history.csv", history)


def write_stability(reports: Reports) -> None:
    """Rows of stability/runs.csv: one of the GAN's runs has diverged."""
    rows = [
        {"model": model, "factor": factor, "learning_rate": 0.002 * factor, "steps": 875, "seed": seed, "n": 1000}
        | {"diverged_at": None, "accuracy": 0.95 + 0.005 * seed, "fid": 9.0 * factor + seed}
        for model in ("diffusion", "gan", "vae")
        for factor in (1, 4)
        for seed in range(3)
    ]
    rows[11] |= {"diverged_at": 75, "accuracy": None, "fid": None}
    write_csv(reports.folder / "stability/runs.csv", rows)


def write_comparison(reports: Reports) -> None:
    """Diffusion, GAN and VAE as the lesson has them."""
    folder = reports.folder / "compare"
    columns = ["model", "calls", "fid", "accuracy", "precision", "recall", "coverage", "sharpness", "coverage_within"]
    rows = [
        ("diffusion", 50, 8.7, 0.95, 0.91, 0.94, 0.94, 0.98, 0.93),
        ("diffusion", 10, 11.2, 0.94, 0.88, 0.94, 0.92, 0.95, 0.91),
        ("gan", 1, 12.9, 0.98, 0.93, 0.75, 0.88, 1.02, 0.45),
        ("vae", 1, 31.0, 0.9, 0.97, 0.7, 0.86, 0.71, 0.9),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(n=1000, kid=0.3, kid_std=0.1, clipped_density=0.9, clipped_coverage=0.9, classes=10)
    table = table.assign(effective_classes=9.8, classifier_score=[0.97, 0.96, 0.9, 0.85])
    write_csv(folder / "quality.csv", table)
    write_csv(folder / "second.csv", table[["model", "calls", "n", "fid", "kid", "kid_std", "accuracy", "recall"]])
    real = {"fid": 7.5, "kid": -0.1, "precision": 0.95, "recall": 0.93, "clipped_density": 1.0, "coverage": 0.96}
    real |= {"coverage_within": 0.95, "classes": 10, "effective_classes": 9.97}
    edit_json(folder / "metrics.json", floor={"n": 1000, "mean": real, "std": dict.fromkeys(real, 0.01)})
    clock = [
        ("diffusion", 10, 1, 40.0),
        ("diffusion", 10, 64, 310.0),
        ("diffusion", 50, 64, 62.0),
        ("diffusion", 1000, 64, 3.1),
        ("gan", 1, 1, 350.0),
        ("gan", 1, 256, 6200.0),
        ("vae", 1, 64, 5100.0),
    ]
    table = pd.DataFrame(clock, columns=["model", "calls", "batch", "images_per_second"])
    table = table.assign(slowest=table["images_per_second"], fastest=table["images_per_second"], repeats=3)
    write_csv(folder / "timing.csv", table)
    bounds = (("ELBO", 1.31), ("importance-weighted, 50 samples", 1.28), ("KL, a part of the ELBO", 0.05))
    rows = [{"model": "vae", "bound": bound, "bits": bits, "error": 0.012, "n": 1000} for bound, bits in bounds]
    write_csv(folder / "density.csv", rows)


def mixture_errors() -> pd.DataFrame:
    """Rows of score/mixture_error.csv."""
    rows = [(name, level) for name in ("ring", "uneven") for level in (5, 2, 0, -3)]
    table = pd.DataFrame(rows, columns=["mixture", "log_snr"])
    return table.assign(n=4000, score=3.0, error=0.1, far_error=0.6)


def score_samplers() -> pd.DataFrame:
    """Rows of score/samplers.csv."""
    rows = [
        # sampler, steps, KID, accuracy, evaluations
        ("euler_maruyama", 100, 0.6, 0.97, 100),
        ("predictor_corrector", 50, 0.5, 0.98, 99),
        ("heun", 20, 0.45, 0.95, 39),
        ("adaptive", 61, 0.44, 0.96, 61.3),
    ]
    table = pd.DataFrame(rows, columns=["sampler", "steps", "kid", "accuracy", "calls"])
    return table.assign(eta=np.nan, fid=np.nan, n=200, subset="all")


def bits() -> pd.DataFrame:
    """Rows of score/bits.csv."""
    kinds = (("test images", 1.35), ("upside down", 1.4), ("pixels shuffled", 5.2), ("uniform noise", 9.1))
    methods = (("bound", 128), ("ODE", 32), ("bound of the ODE's images", 32))
    rows = [
        {"kind": kind, "label": "none", "denoiser": "grey-aware", "method": method, "n": n, "bits": cost + 0.1 * k}
        for kind, cost in kinds
        for k, (method, n) in enumerate(methods)
    ]
    conditional, bare = rows[0] | {"label": "class", "bits": 1.3}, rows[0] | {"denoiser": "network", "bits": 1.57}
    return pd.DataFrame([*rows, conditional, bare]).assign(error=0.03)


def prompts() -> pd.DataFrame:
    """Rows of sample_latent/prompts.csv."""
    shares = {"accuracy": 0.91, "recall": None, "thickness": 0.72, "slant": 0.7, "width": 0.66, "held_out": 0.75}
    rows = [{"group": "unseen", "scale": scale, "n": 300} | shares for scale in (1.0, 2.0, 4.0)]
    rows[1] |= {"accuracy": 0.95, "width": 0.68}
    return pd.DataFrame([*rows, rows[0] | {"group": "seen"}])


def larger() -> pd.DataFrame:
    """Rows of larger/larger.csv."""
    rows = [
        # side, space, images per second, FID
        (28, "latent", 900.0, 40.0),
        (28, "pixel", 500.0, 30.0),
        (28, "pixel", 500.0, 20.0),
        (56, "latent", 900.0, 41.0),
        (56, "pixel", 120.0, 51.0),
        (56, "pixel", 120.0, 61.0),
    ]
    return pd.DataFrame(rows, columns=["size", "space", "images_per_second", "fid"]).assign(n=1000)


def _seeds(settings: pd.DataFrame) -> pd.DataFrame:
    """Every setting with three sampling seeds, whose FIDs have a standard deviation of 0.2."""
    rest = {"n": 1000, "accuracy": 0.95, "precision": 0.88, "recall": 0.92, "clipped_density": 0.8, "coverage": 0.9}
    seeds = [settings.assign(seed=seed, fid=settings["fid"] + 0.2 * (seed - 1), **rest) for seed in range(3)]
    return pd.concat(seeds, ignore_index=True)
