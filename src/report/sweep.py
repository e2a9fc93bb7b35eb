"""The page of a sweep, from what `make sweep` collected: its runs side by side, with their spread over training seeds.

Run k of every setting has the same training seed as run k of the others, and sample i of every run starts from the same
noise, so differences are tested in pairs: class accuracy by McNemar's test, other figures by the t-test over seeds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, ttest_rel

from diffusion.files import write_text
from report.content import Block, Cell, Column, Picture, Section, Table, Tile, table
from report.page import SPINE, TITLES, Link, Made, file_names
from report.plots.sheet import labelled_sheet
from report.plots.style import COLOURS, LINES, Look
from report.plots.training import training_losses
from report.reading import FIGURES, Reports, flat
from report.render import render_html, render_markdown
from report.spine.runs import MEASURES, SHEET_COLUMNS
from report.spine.training_curves import loss_at_the_end, loss_label, thinned
from report.wording import MISSING, number, spread, whole

TRAINING_SEED = "train.seed"
CURVE_POINTS = 70  # few enough to tell apart curves that lie close together
SIGNIFICANT = 0.05


class McNemar(NamedTuple):
    """Two runs on the same samples: how many only one of them gets right, and the exact two-sided p of as uneven a
    split by chance (McNemar 1947; binomial)."""

    only_first: int
    only_second: int
    p: float


def build(folder: Path) -> None:
    """Write index.html and README.md into the folder of a sweep. Raises OSError and ValueError as `Reports` does."""
    reports = Reports(folder, SPINE, folder)
    for stale in folder.glob(f"{FIGURES}/{SPINE}/*.png"):
        stale.unlink()
    about, runs = reports.record("about.json"), runs_of(reports)
    html, markdown = file_names(SPINE)
    known = flat(about["params"]) | runs.iloc[0]["changed"]
    content = {
        "title": about["title"],
        "is_chapter": True,
        "links": [
            Link(TITLES[SPINE], f"../{html}", f"../{markdown}", False, False),
            Link(about["title"], html, markdown, True, True),
        ],
        "params": {**{key: known[key] for key in ("schedule", "timesteps", "seed")}, "data": about["params"]["data"]},
        "made": Made(f"Made by `{about['command']}` at commit `{about['commit']}`.", "", "", ""),
        "caution": None,
        "headline": headline(runs),
        "tiles": tiles(runs, about["compare"]),
        "sections": sections(reports, about, runs),
    }
    write_text(folder / html, render_html(content, reports.path))
    write_text(folder / markdown, render_markdown(content))


def runs_of(reports: Reports) -> pd.DataFrame:
    """A row per run, by its name, in the order of the sweep; the first setting is what the others are compared with.

    Columns: setting (in words), seed, label (both, as far as they vary), changed (by key), n, calls, shown_calls, loss
    (at the end), and every measure, NaN where it is not defined.
    """
    changed, metrics = reports.record("about.json")["changed"], reports.record("metrics.json")
    histories = reports.table("history.csv").groupby("run")
    rows = []
    for name, figures in metrics.items():
        values = {key: value for key, value in changed[name].items() if key != TRAINING_SEED}
        setting = ", ".join(f"{key} = {value}" for key, value in values.items()) or "params.yaml"
        seed = changed[name].get(TRAINING_SEED)
        labels = [setting] if seed is None else [*([setting] if values else []), f"seed {seed}"]
        row = {key: figures[key] for key in ("n", "calls", "shown_calls")}
        row |= {"setting": setting, "seed": seed, "label": ", ".join(labels), "changed": changed[name]}
        row |= {key: figures[key]["mean"] if key == "kid" else figures[key] for key in MEASURES}
        rows.append(row | {"loss": loss_at_the_end(histories.get_group(name))})
    frame = pd.DataFrame(rows, index=list(metrics))
    return frame.astype(dict.fromkeys(MEASURES, float))


def settings_of(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of every setting, a row per seed, by the setting in words."""
    return {str(setting): frame for setting, frame in runs.groupby("setting", sort=False)}


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Compare two runs by which samples (n,) each gets right, bool."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    different = only_first + only_second
    return McNemar(only_first, only_second, binomtest(only_first, different).pvalue if different else 1.0)


def headline(runs: pd.DataFrame) -> str:
    """How many runs of what."""
    seeds = len(runs) // len(settings_of(runs))
    counted = "one training seed each" if seeds == 1 else f"{whole(seeds)} training seeds each"
    return (
        f"{_counted(len(settings_of(runs)), 'setting')} with {counted}, {whole(runs['n'].iloc[0])} samples per run, "
        "all from the same start noise."
    )


def tiles(runs: pd.DataFrame, compared: Sequence[str]) -> list[Tile]:
    """The compared figures of the first setting, at most four."""
    first = next(iter(settings_of(runs).values()))
    shown = [key for key in compared if first[key].notna().all()][:4]
    return [Tile(MEASURES[key].heading, over_seeds(first, key), first["setting"].iloc[0]) for key in shown]


def sections(reports: Reports, about: Mapping[str, Any], runs: pd.DataFrame) -> list[Section]:
    """Figures with tests, samples, curves."""
    compared = [key for key in about["compare"] if runs[key].notna().any()]
    right = correct(reports)
    figures: tuple[Block, ...] = (settings_table(runs, compared), pairs_table(runs, right, compared))
    figures += (runs_table(runs, compared),) if len(runs) > len(settings_of(runs)) else ()
    target = flat(about["params"]) | runs.iloc[0]["changed"]
    return [
        Section("figures", "Figures", tuple(answers(runs, right, compared)), figures),
        Section("samples", "Samples from the same noise", (same_noise(runs),), (samples_picture(reports, runs),)),
        Section("curves", "Training", (losses(runs),), (curves(reports, runs, target["train.target"]),)),
    ]


def correct(reports: Reports) -> pd.DataFrame:
    """Which samples every run gets right, bool: a row per sample, a column per run."""
    predictions = reports.table("predictions.csv")
    return predictions.drop(columns="label").eq(predictions["label"], axis=0)


def answers(runs: pd.DataFrame, right: pd.DataFrame, compared: Sequence[str]) -> list[str]:
    """The first setting with its spread, then every other one beside it."""
    first, *others = settings_of(runs).values()
    texts = [_figures_in_words(first, compared)]
    if len(first) > 1:
        texts[0] += ": mean and standard deviation over training seeds, which is the error of a single training"
    for other in others:
        test = mcnemar(*(right[list(one.index)].to_numpy().ravel() for one in (first, other)))
        differs = "differs" if test.p < SIGNIFICANT else "does not differ significantly"
        texts.append(
            f"{_figures_in_words(other, compared)}. Class accuracy {differs} (McNemar's test on the same start noise: "
            f"p = {number(test.p, 2)})"
        )
    return [f"{text}." for text in texts]


def settings_table(runs: pd.DataFrame, compared: Sequence[str]) -> Table:
    """Mean and spread over seeds of every setting."""
    headings = ("Setting", "Seeds", *(_heading(key) for key in compared))
    rows = tuple(
        (
            Cell(setting),
            Cell(whole(len(frame)), len(frame)),
            *(Cell(over_seeds(frame, key), _sortable(frame[key].mean())) for key in compared),
        )
        for setting, frame in settings_of(runs).items()
    )
    n, calls = whole(runs["n"].iloc[0]), whole(runs["calls"].iloc[0])
    caption = (
        f"Mean ± standard deviation over training seeds; every run on n = {n} samples by DDIM with {calls} network "
        "evaluations, compared with the test split by the features of the judge."
    )
    return Table(caption, headings, (False, *(True for _ in headings[1:])), rows)


def runs_table(runs: pd.DataFrame, compared: Sequence[str]) -> Table:
    """The figures of every run."""
    columns: list[Column] = [("label", "Run", str)]
    columns += [(key, _heading(key), number) for key in compared]
    columns += [("loss", "Training loss at the end", number)]
    in_units = runs.assign(**{key: runs[key] / MEASURES[key].unit for key in compared})
    return table(in_units, columns, "Every run.")


def pairs_table(runs: pd.DataFrame, right: pd.DataFrame, compared: Sequence[str]) -> Table:
    """Differences in pairs: of every setting from the first or, if there is one setting alone, of its seeds."""
    groups = list(settings_of(runs).values())
    if len(groups) == 1:
        groups = [groups[0].iloc[[row]] for row in range(len(runs))]
    first, *others = groups
    measures = [key for key in compared if key != "accuracy"]
    rows = []
    for other in others:
        test = mcnemar(*(right[list(one.index)].to_numpy().ravel() for one in (first, other)))
        cells = [f"{whole(test.only_first)} : {whole(test.only_second)}", number(test.p, 2)]
        cells += [difference(first[key].to_numpy(), other[key].to_numpy(), MEASURES[key].unit) for key in measures]
        rows.append(tuple(map(Cell, [other["setting" if len(first) > 1 else "label"].iloc[0], *cells])))
    name = first["setting" if len(first) > 1 else "label"].iloc[0]
    caption = (
        f"Differences from {name}. Samples: how many only {name} : only this one gets right, from the same start noise"
        f"{' and over all seeds' if len(first) > 1 else ''}, and the p of McNemar's exact test, which says nothing of "
        "other training seeds. Other figures: mean difference"
        f"{' over pairs of the same seed, with the p of the paired t-test' if len(first) > 1 else ''}."
    )
    headings = ("Run", "Samples", "p", *(MEASURES[key].heading for key in measures))
    return Table(caption, headings, (False, *(True for _ in headings[1:])), tuple(rows))


def difference(first: np.ndarray, second: np.ndarray, unit: float) -> str:
    """The mean difference of two settings over seeds, signed, with the p of the paired t-test if there is one."""
    differences = (second - first) / unit
    if not np.isfinite(differences).all():
        return MISSING
    mean = differences.mean()
    text = f"{'+' if mean > 0 else ''}{number(mean)}"
    if len(differences) < 2 or np.ptp(differences) == 0:
        return text
    return f"{text} (p = {number(ttest_rel(second, first).pvalue, 2)})"


def over_seeds(runs: pd.DataFrame, measure: str) -> str:
    """A figure of a setting in its unit: mean ± standard deviation over seeds, or the only value."""
    values = runs[measure] / MEASURES[measure].unit
    return spread(values.mean(), values.std() if len(values) > 1 else None)


def same_noise(runs: pd.DataFrame) -> str:
    """What the rows of the picture share."""
    calls = whole(runs["shown_calls"].iloc[0])
    return f"All in a column are of the same class and start from the same noise: DDIM, {calls} network evaluations."


def samples_picture(reports: Reports, runs: pd.DataFrame) -> Picture:
    """A row per run."""
    labelled_sheet(reports.figure("samples.png"), reports.path("samples.png"), runs["label"].tolist())
    caption = f"The first {SHEET_COLUMNS} samples of every run, not selected."
    return reports.drawn("samples.png", caption, "Samples of every run, a row each, from the same noise")


def losses(runs: pd.DataFrame) -> str:
    """The range of the losses at the end."""
    low, high = runs["loss"].min(), runs["loss"].max()
    return f"The loss ends between {number(low)} and {number(high)}; it compares where noise levels are drawn alike."


def curves(reports: Reports, runs: pd.DataFrame, target: str) -> Picture:
    """The losses of all runs on the same axes: a colour per setting, a dash pattern per seed."""
    histories = reports.table("history.csv").groupby("run")
    lines = {run["label"]: thinned(histories.get_group(name), CURVE_POINTS) for name, run in runs.iterrows()}
    looks = {
        frame["label"].iloc[row]: Look(COLOURS[place % len(COLOURS)], LINES[row % len(LINES)], "")
        for place, frame in enumerate(settings_of(runs).values())
        for row in range(len(frame))
    }
    training_losses(reports.figure("loss.png"), lines, looks, loss_label(target))
    caption = "Training loss of every run, means over many steps each; logarithmic."
    return reports.drawn("loss.png", caption, "Training loss of every run against the step")


def _figures_in_words(frame: pd.DataFrame, compared: Sequence[str]) -> str:
    shown = [f"{_heading(key)} {over_seeds(frame, key)}" for key in compared if frame[key].notna().all()][:2]
    return f"{frame['setting'].iloc[0]}: {', '.join(shown)}"


def _heading(measure: str) -> str:
    return MEASURES[measure].heading


def _counted(count: int, noun: str) -> str:
    return f"One {noun}" if count == 1 else f"{whole(count)} {noun}s"


def _sortable(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
