"""Reports of images that are no digits: a copy of a run's reports with other classes, and with photographs for sheets.

Nothing is trained: figures stay those of the run, except that there is one for every class.
"""

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from run_reports import edit_json, write_csv
from sklearn.datasets import load_sample_images

from stages.shared.sheets import per_class, write_rows, write_sheet

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "arrow", "moon", "drop")
CHECKSUM = "5ba9" * 16
CAPTIONED = ("captions", "terciles")
SAME_ROWS = {  # sheets without a row per class: their columns; rows are as many as they were
    "evaluate/nearest.png": 16,
    "evaluate/samplers.png": 16,
    "evaluate/eta.png": 16,
    "evaluate/ddpm_grid.png": 4,
    "schedules/forward.png": 6,
    "schedules/linear_cosine.png": 4,
    "score/samplers.png": 16,
    "score/inversion.png": 16,
    "score/interpolation.png": 11,
    "score/inpainting.png": 10,
}
ROWS = {"evaluate/nearest.png": 3, "evaluate/ddpm_grid.png": 4, "schedules/forward.png": 1}
ROWS |= {
    "schedules/linear_cosine.png": 2,
    "score/inversion.png": 3,
    "score/interpolation.png": 6,
    "score/inpainting.png": 8,
}


def class_names(number: int) -> list[str]:
    """Names of shapes, then of larger and larger ones."""
    return [name if not round_ else f"{name} {round_ + 1}" for round_, name in product(range(10), SHAPES)][:number]


def photographs(number: int, size: int) -> torch.Tensor:
    """Cuts from the photographs that scikit-learn ships: uint8 (N, 3, size, size)."""
    draw = np.random.default_rng(0)
    pictures = load_sample_images().images
    cuts = []
    for index in range(number):
        picture = pictures[index % len(pictures)]
        top, left = (int(draw.integers(0, side - size)) for side in picture.shape[:2])
        cuts.append(picture[top : top + size, left : left + size].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(cuts))


def of_other_data(source: Path, folder: Path, names: list[str], size: int = 64) -> Path:
    """A copy of the reports `source` for a folder of colour images with these classes, `size` pixels a side."""
    shutil.copytree(source, folder)
    before = pd.read_csv(folder / "data/counts.csv", dtype=str)["class"].tolist()
    card = {"dataset": "folder", "source": "a folder", "license": None, "checksum": CHECKSUM}
    edit_json(folder / "data/card.json", image_shape=[3, size, size], **card)
    _write_tables(folder, before, names)
    _write_sheets(folder, names, size)
    return folder


def params_of_other_data(params: dict[str, dict], size: int = 64) -> dict[str, dict]:
    """The params of all pages for such images."""
    own = {"dataset": "folder", "image_size": size, "channels": 3}
    return {name: content | {"data": content["data"] | own} for name, content in params.items()}


def _write_tables(folder: Path, before: list[str], names: list[str]) -> None:
    train = [85 + 300 * rank // len(names) for rank in range(len(names))]
    write_csv(folder / "data/counts.csv", pd.DataFrame({"class": names, "train": train, "test": 20}))
    shares = np.linspace(0.4, 1, len(names))
    write_csv(folder / "evaluate/by_class.csv", pd.DataFrame({"class": names, "n": 50, "accuracy": shares}))
    confusion = [
        {"actual": one, "predicted": other, "count": 40 if row == column else 10 if column == (row + 1) % 7 else 0}
        for (row, one), (column, other) in product(enumerate(names), enumerate(names))
    ]
    scales = pd.read_csv(folder / "guidance/metrics.csv")["scale"]
    for name in ("judge", "evaluate"):
        write_csv(folder / name / "confusion.csv", confusion)
    write_csv(folder / "guidance/confusion.csv", [row | {"scale": scale} for scale in scales for row in confusion])
    new = {old: names[index % len(names)] for index, old in enumerate(before)}
    captions, terciles = (pd.read_csv(folder / f"captions/{name}.csv", dtype={"class": str}) for name in CAPTIONED)
    named = captions["class"].map(new)
    write_csv(folder / "captions/captions.csv", captions.assign(**{"class": named, "caption": "a " + named}))
    write_csv(folder / "captions/terciles.csv", terciles.assign(**{"class": terciles["class"].map(new)}))
    held_out = json.loads((folder / "captions/card.json").read_text())["held_out"]
    edit_json(folder / "captions/card.json", held_out=[row | {"class": new[row["class"]]} for row in held_out])


def _write_sheets(folder: Path, names: list[str], size: int) -> None:
    number, each = len(names), per_class(len(names))
    scales = pd.read_csv(folder / "guidance/metrics.csv")["scale"]
    film = len(pd.read_csv(folder / "evaluate/film.csv"))
    columns = {
        "data/examples.png": each,
        "evaluate/recommended.png": each,
        "evaluate/unguided.png": each,
        "sample_latent/samples.png": each,
    }
    columns |= {f"guidance/sheet_{scale:g}.png": each for scale in scales}
    autos = pd.read_csv(folder / "guidance/auto.csv")["scale"]
    columns |= {"guidance/sheet.png": len(scales), "guidance/limited.png": 3}
    columns |= {"guidance/auto.png": sum(scales.isin([1, *autos])) + len(autos)}
    images = photographs(2 * 20 * max(number, 20), size)
    for name, of_each in columns.items():
        write_sheet(folder / name, images[: number * of_each], of_each)
    for name in ("x_t", "x_0"):
        write_sheet(folder / f"evaluate/film_{name}.png", images[: min(number, 20) * film], film)
    models = len(pd.read_csv(folder / "compare/quality.csv"))
    write_rows(folder / "compare/samples.png", [images[: 2 * number]] * (1 + models))
    write_rows(folder / "compare/reconstructions.png", [images[: 2 * number]] * 2)
    all_samplers = {
        name: len(pd.read_csv(folder / f"{name}/samplers.csv").query("subset == 'all'"))
        for name in ("evaluate", "score")
    }
    etas = len(set(pd.read_csv(folder / "evaluate/eta.csv")["eta"]))
    rows = ROWS | {f"{name}/samplers.png": count for name, count in all_samplers.items()}
    for name, of_each in SAME_ROWS.items():
        write_sheet(folder / name, images[: rows.get(name, 2 * etas) * of_each], of_each)


MEASURES = {
    *(
        "accuracy",
        "fid",
        "kid",
        "kid_std",
        "precision",
        "recall",
        "clipped_density",
        "coverage",
        "clipped_coverage",
        "coverage_within",
    ),
    *(
        "diversity",
        "sharpness",
        "saturation",
        "effective_classes",
        "classifier_score",
        "rms_error",
        "error",
        "rms_difference",
    ),
    *("thickness", "slant", "width", "held_out", "noise_std", "clean_noise_std"),
}
MEASURED = (
    *("evaluate/by_class.csv", "evaluate/samplers.csv", "evaluate/eta.csv", "guidance/metrics.csv"),
    *("guidance/limited.csv", "guidance/auto.csv", "score/samplers.csv", "score/inversion.csv", "compare/quality.csv"),
    *("evaluate/second.csv", "compare/second.csv", "score/inpainting.csv"),
    "sample_latent/prompts.csv",
)
RECORDED = (
    *("evaluate/metrics.json", "evaluate/recommended.json", "evaluate/second.json"),
    *("compare/metrics.json", "sample_latent/metrics.json"),
)


def degenerate(folder: Path, value: float | None) -> None:
    """Make every measure of every model, and of real images, this value."""
    for name in MEASURED:
        table = pd.read_csv(folder / name)
        changed = {column: np.nan if value is None else value for column in table if column in MEASURES}
        write_csv(folder / name, table.assign(**changed))
    for name in RECORDED:
        record = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(_all_measures(record, value)), encoding="utf-8")


def _all_measures(record: dict, value: float | None) -> dict:
    """A record with this value for each measure; of one with mean and spread, both."""
    spreads = ("mean", "std", "ratio_median", "share_below_1_percent", "real", "reconstructed")
    return {
        key: _all_measures(part, value) if isinstance(part, dict) else value if key in (*MEASURES, *spreads) else part
        for key, part in record.items()
    }
