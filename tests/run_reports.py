"""The smoke run's own reports for tests of the pages: with the figures of a larger run, and with hostile names."""

import json
import shutil
from pathlib import Path

import pandas as pd

import report.baselines.page
import report.latent.page
import report.score.page
import report.spine.page
from report.page import TITLES, build, file_names
from report.reading import Reports
from stages.params.params import BaselineParams, LatentParams, Params, ScoreParams

PAGES = {
    "index": (report.spine.page.PAGE, Params),
    "score": (report.score.page.PAGE, ScoreParams),
    "latent": (report.latent.page.PAGE, LatentParams),
    "baselines": (report.baselines.page.PAGE, BaselineParams),
}
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
NAMED = {  # tables with names of classes, and their columns
    "data/counts.csv": ["class"],
    "judge/confusion.csv": ["actual", "predicted"],
    "evaluate/by_class.csv": ["class"],
    "evaluate/confusion.csv": ["actual", "predicted"],
    "guidance/by_class.csv": ["class"],
    "guidance/confusion.csv": ["actual", "predicted"],
    "captions/captions.csv": ["class"],
    "captions/terciles.csv": ["class"],
}
CHAPTERS = {  # what only a chapter's stages and studies write
    "score": ("score", "density"),
    "latent": ("autoencoder", "captions", "train_latent", "sample_latent", "larger"),
    "baselines": ("vae", "gan", "compare"),
}
STUDIES = ("exercises", "seeds", "frontier", "lesson", "stability", "density", "larger")


def params_of(root: Path) -> dict[str, dict]:
    """The params of every page, from the files in a checkout."""
    return {name: kind.load(root).model_dump() for name, (_, kind) in PAGES.items()}


def reports_in(folder: Path, page: str) -> Reports:
    """What a page reads where all results are published."""
    return Reports(folder, page, folder)


def build_all(folder: Path, params: dict[str, dict]) -> None:
    """Build the four pages in a folder of reports."""
    for name, (page, _) in PAGES.items():
        build(page, folder, folder, params[name])


def run_reports(root: Path, folder: Path) -> Path:
    """A copy of the reports of a run without its pages."""
    pages = [file for name in TITLES for file in file_names(name)]
    shutil.copytree(root / "reports", folder, ignore=shutil.ignore_patterns("figures", *pages))
    return folder


def enlarge(folder: Path) -> None:
    """Figures that a run of a thousand samples has, and the smoke run has not."""
    share = {"precision": 0.88, "recall": 0.9, "clipped_density": 0.87, "coverage": 0.85, "clipped_coverage": 0.82}
    real = {"precision": 0.91, "recall": 0.94, "clipped_density": 0.96, "coverage": 0.93, "clipped_coverage": 0.98}
    floor = {"mean": 12.84, "std": 0.43, "draws": 5, "n": 1000}
    memory = {"ratio_median": 1.04, "share_below_1_percent": 0.009}
    figures = {"n": 1000, "calls": 50, "accuracy": 0.964, "fid": 41.37, "fid_floor": floor, "floor": real, **share}
    edit_json(folder / "evaluate/metrics.json", **figures, memorisation=memory)
    edit_json(folder / "evaluate/recommended.json", **figures | {"calls": 40, "accuracy": 0.984, "fid": 43.5})
    edit_csv(folder / "evaluate/samplers.csv", "sampler != 'ddpm' and subset == 'all'", n=500, fid=44.0)
    edit_csv(folder / "guidance/metrics.csv", "n > 0", n=500, fid=46.0, **share)
    edit_csv(folder / "guidance/limited.csv", "n > 0", n=500, fid=46.0, **share)
    edit_csv(folder / "guidance/auto.csv", "n > 0", n=500, fid=46.0, **share)
    edit_csv(folder / "score/samplers.csv", "subset == 'all'", n=500, fid=45.0, **share)
    edit_csv(folder / "compare/quality.csv", "n > 0", n=1000, fid=20.0, coverage_within=0.8, **share)
    real |= {"fid": 7.5, "kid": -0.1, "coverage_within": 0.95, "classes": 10, "effective_classes": 9.97}
    edit_json(folder / "compare/metrics.json", floor={"n": 1000, "mean": real, "std": dict.fromkeys(real, 0.01)})
    edit_json(folder / "sample_latent/metrics.json", n=1000, fid=60.2, reconstructed={"fid": 18.4}, **share)


def adopt_studies(folder: Path) -> None:
    """Say of all studies that they were made of the data that the folder is about."""
    card = json.loads((folder / "data/card.json").read_text(encoding="utf-8"))
    for study in STUDIES:
        edit_json(folder / study / "about.json", data={name: card[name] for name in ("dataset", "checksum")})


def rename_classes(folder: Path, names: list[str]) -> None:
    """Give the ten classes of a run these names."""
    before = pd.read_csv(folder / "data/counts.csv", dtype=str)["class"].tolist()
    new = dict(zip(before, names, strict=True))
    for name, columns in NAMED.items():
        table = pd.read_csv(folder / name, dtype=dict.fromkeys(columns, str))
        table[columns] = table[columns].replace(new)
        write_csv(folder / name, table)
    held_out = json.loads((folder / "captions/card.json").read_text())["held_out"]
    edit_json(folder / "captions/card.json", held_out=[row | {"class": new[row["class"]]} for row in held_out])


def edit_json(path: Path, **changes: object) -> None:
    """Replace keys of a JSON file."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def edit_csv(path: Path, where: str, **changes: object) -> None:
    """Set columns of the rows of a CSV file that a pandas query finds; at least one."""
    table = pd.read_csv(path)
    rows = table.query(where).index
    assert len(rows)
    for column, value in changes.items():
        if value is not None and table[column].dtype.kind in "iO" and not isinstance(value, str):
            table[column] = table[column].astype(float)
        table.loc[rows, column] = value
    write_csv(path, table)


def write_json(path: Path, content: dict) -> None:
    """A JSON file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: pd.DataFrame | list[dict]) -> None:
    """A CSV file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")
