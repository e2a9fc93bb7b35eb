"""Exercise 4: every sampler's quality joined with its clock, and what eta does."""

from pathlib import Path
from typing import Any

import pandas as pd

from report.content import Block, Section, table
from report.frontier import frontier_blocks, label
from report.plots.samplers import quality_by_calls, speed_quality
from report.plots.sheet import labelled_sheet
from report.reading import Reports, png_size
from report.wording import differ, duration, fixed, number, percent, spread, whole

SAMPLERS_KEY = ["sampler", "steps", "eta", "times"]
COMPARED_STEPS = 50


def joined(reports: Reports) -> pd.DataFrame:
    """A row per sampler setting: quality on the first images (comparable) and on all, and the clock.

    Columns: sampler, steps, eta, times, label, n, kid, kid_std, accuracy, n_all, fid_all, kid_all, kid_std_all,
    accuracy_all, and those of benchmark/timing.csv.
    """
    quality, clock = reports.table("evaluate/samplers.csv"), reports.table("benchmark/timing.csv")
    first, whole_set = (quality[quality["subset"] == subset].drop(columns="subset") for subset in ("first", "all"))
    rows = first.merge(whole_set, on=SAMPLERS_KEY, suffixes=("", "_all")).merge(clock, on=SAMPLERS_KEY)
    rows["label"] = [label(sampler, eta) for sampler, eta in zip(rows["sampler"], rows["eta"], strict=True)]
    return rows


def compared(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The exercise's pair: DDPM, and deterministic DDIM with the number of steps nearest to 50."""
    ddpm = rows[rows["sampler"] == "ddpm"].iloc[0]
    ddim = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 0)]
    return ddpm, ddim.loc[(ddim["steps"] - COMPARED_STEPS).abs().idxmin()]


def samplers_section(reports: Reports, params: dict[str, Any]) -> Section:
    """Exercise 4."""
    rows, verdict = joined(reports), reports.record("evaluate/metrics.json")
    images, first = rows["images"].iloc[0], rows["n"].iloc[0]
    floor = (verdict["kid_floor"]["mean"], verdict["kid_floor"]["std"] or 0.0)
    measured = rows.assign(value=rows["kid"], error=rows["kid_std"], sampler=rows["label"])
    panels = [(f"KID (n = {whole(first)}, lower is better)", measured, floor)]
    if rows["fid_all"].notna().any():
        with_fid = rows.dropna(subset=["fid_all"])
        frame = with_fid.assign(value=with_fid["fid_all"], error=0.0, sampler=with_fid["label"])
        fid_floor = (verdict["fid_floor"]["mean"], verdict["fid_floor"]["std"] or 0.0)
        panels.append((f"FID (n = {whole(with_fid['n_all'].min())}, lower is better)", frame, fid_floor))
    speed_quality(reports.figure("speed_quality.png"), panels, int(images))
    quality_by_calls(reports.figure("calls.png"), panels[:1])
    speed = reports.drawn(
        "speed_quality.png",
        f"Seconds for {whole(images)} images (logarithmic) against quality; labels are network calls, bars one "
        f"standard error. Left and low is good; the line is what real images score.",
        "Quality of each sampler against its time",
    )
    calls = reports.drawn(
        "calls.png",
        "The same quality against the number of network calls.",
        "Quality of each sampler against its number of network calls",
    )
    answer = (speed_answer(rows), quality_answer(rows), *eta_answer(reports.table("evaluate/eta.csv")))
    blocks = (
        speed,
        samplers_table(rows),
        _sheet(reports, rows),
        calls,
        *frontier_blocks(reports, params),
        *eta_blocks(reports),
        *film_blocks(reports),
    )
    return Section("samplers", "DDIM and speed", answer, blocks, "Exercise 4")


def speed_answer(rows: pd.DataFrame) -> str:
    """The wall-clock of the exercise's pair."""
    ddpm, ddim = compared(rows)
    ratio = ddpm["seconds"] / ddim["seconds"]
    faster = f"DDIM is {number(ratio)} times faster" if ratio > 1 else f"DDIM is not faster ({number(ratio)} times)"
    return (
        f"{whole(ddpm['images'])} images take {duration(ddpm['seconds'])} by DDPM with {whole(ddpm['calls'])} network "
        f"calls and {duration(ddim['seconds'])} by DDIM (η = 0) with {whole(ddim['calls'])}: {faster} (median of "
        f"{whole(ddpm['repeats'])} runs)."
    )


def quality_answer(rows: pd.DataFrame) -> str:
    """Whether the exercise's pair differ in quality by more than two standard errors, on equally many images."""
    ddpm, ddim = compared(rows)
    n = whole(ddpm["n"])
    figures = f"KID {spread(ddim['kid'], ddim['kid_std'])} against {spread(ddpm['kid'], ddpm['kid_std'])} of DDPM"
    reading = f"{percent(ddim['accuracy'])} against {percent(ddpm['accuracy'])} are read as the class asked for"
    better = quality_change(ddpm, ddim)
    verdict = {"same": "no difference beyond the error", "worse": "DDIM is worse", "better": "DDIM is better"}[better]
    return f"In quality, on {n} images each, {verdict}: {figures}; {reading}."


def quality_change(before: pd.Series, after: pd.Series) -> str:
    """`same`, `worse` or `better`: the KID of `after` against that of `before`, by two standard errors."""
    if not differ(before["kid"], after["kid"], before["kid_std"], after["kid_std"]):
        return "same"
    return "worse" if after["kid"] > before["kid"] else "better"


def eta_answer(eta: pd.DataFrame) -> list[str]:
    """Determinism and diversity at the smallest and the largest eta, at the largest number of steps."""
    rows = eta[eta["steps"] == eta["steps"].max()].sort_values("eta")
    if len(rows) < 2:
        return []
    low, high = rows.iloc[0], rows.iloc[-1]
    same = (
        "gives the same images"
        if low["rms_difference"] == 0
        else f"gives images that differ by {number(low['rms_difference'])} (root mean square)"
    )
    other = (
        "the same images too"
        if high["rms_difference"] == 0
        else f"images that differ by {number(high['rms_difference'])}"
    )
    change = high["diversity"] - low["diversity"]
    n = f"n = {whole(low['n'])} each" if low["n"] == high["n"] else f"n = {whole(low['n'])} and {whole(high['n'])}"
    diversity = "hardly changes" if abs(change) < 0.02 else "rises" if change > 0 else "falls"
    return [
        f"With the same start noise and {whole(low['steps'])} steps, DDIM with η = {low['eta']:g} {same} in a second "
        f"run, with η = {high['eta']:g} {other} (pixels run from −1 to 1). Diversity within a class {diversity}: "
        f"{fixed(low['diversity'])} against {fixed(high['diversity'])} of that of real images ({n})."
    ]


def samplers_table(rows: pd.DataFrame) -> Block:
    """Quality and clock side by side."""
    columns = [
        ("label", "Sampler", str),
        ("calls", "Calls", whole),
        ("seconds", "Seconds", number),
        ("images_per_second", "Images/s", number),
        ("overhead", "Overhead", fixed),
        ("kid", "KID", number),
        ("kid_std", "± error", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", percent),
        ("n_all", "n, all", whole),
        ("kid_all", "KID, all", number),
        ("accuracy_all", "Accuracy, all", percent),
    ]
    if rows["fid_all"].notna().any():
        columns.append(("fid_all", "FID, all", number))
    caption = (
        f"Seconds: median for {whole(rows['images'].iloc[0])} images. Overhead: time over that of the same number of "
        f"bare network calls. KID and class accuracy: first {whole(rows['n'].iloc[0])} images of every sampler, same "
        "start noise and classes, so rows compare; “all” are all images drawn of it."
    )
    return table(rows, columns, caption)


def eta_blocks(reports: Reports) -> list[Block]:
    """Table and sheet of eta: two runs from the same start noise."""
    eta = reports.table("evaluate/eta.csv")
    columns = [
        ("eta", "η", lambda value: f"{value:g}"),
        ("steps", "Steps", whole),
        ("n", "n", whole),
        ("rms_difference", "Two runs differ by", number),
        ("diversity", "Diversity", fixed),
        ("kid", "KID", number),
        ("accuracy", "Class accuracy", percent),
    ]
    caption = (
        "η in DDIM. Two runs: same start noise and classes, other noise in the steps, root mean square over "
        "pixels. Diversity: feature distance within a class over that of real images."
    )
    names = [f"η = {value:g}, run {run}" for value in dict.fromkeys(eta["eta"]) for run in "AB"]
    labelled_sheet(reports.figure("eta.png"), reports.folder / "evaluate/eta.png", names)
    sheet = reports.drawn(
        "eta.png",
        f"Two runs per η with {whole(eta['steps'].max())} steps, each column from the same start noise: equal "
        f"rows are a deterministic sampler.",
        "Pairs of runs for each eta",
    )
    return [sheet, table(eta, columns, caption)]


def film_blocks(reports: Reports) -> list[Block]:
    """The reverse process: what the sampler holds, and what the network makes of it."""
    times = [f"{t:,.0f}" for t in reports.table("evaluate/film.csv")["t"]]
    captions = {
        "x_t": "The reverse process by DDPM: xₜ from noise to image; the numbers are t.",
        "x_0": "The network's estimate of x₀ at the same times: first the mean of what is possible, then one "
        "image of it.",
    }
    blocks: list[Block] = []
    for name, caption in captions.items():
        sheet = reports.folder / f"evaluate/film_{name}.png"
        labelled_sheet(reports.figure(f"film_{name}.png"), sheet, _film_rows(reports, sheet, len(times)), times)
        blocks.append(reports.drawn(f"film_{name}.png", caption, caption))
    return blocks


def _film_rows(reports: Reports, sheet: Path, columns: int) -> list[str]:
    """Names of the rows where a film has one of every class."""
    width, height = png_size(sheet)
    names = reports.row_names()
    return names if round(height / (width / columns)) == len(names) else []


def _sheet(reports: Reports, rows: pd.DataFrame) -> Block:
    names = [f"{name}, {steps:,}" for name, steps in zip(rows["label"], rows["calls"], strict=True)]
    labelled_sheet(reports.figure("samplers.png"), reports.folder / "evaluate/samplers.png", names)
    caption = (
        "The same 16 start noises and classes by every sampler; the number is its network calls. Deterministic "
        "samplers with enough steps agree on the image."
    )
    return reports.drawn("samplers.png", caption, "Images of every sampler from the same start noise, a row each")
