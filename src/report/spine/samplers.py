"""Exercise 4: every sampler's quality joined with its clock."""

from typing import Any

import pandas as pd

from report.classes import with_legend
from report.content import Block, Column, Folded, Picture, Section, Table, Text, table, with_values
from report.looks import sampler_label, sampler_look
from report.paired import pairs, pairs_in_words
from report.plots.names import names_for_pictures
from report.plots.samplers import Panel, quality_by_calls, speed_quality
from report.plots.sheet import labelled_sheet
from report.reading import Reports, png_size
from report.second import second_answer, second_table
from report.spine import frontier
from report.spine.eta import eta_answer, eta_blocks
from report.studies import FRONTIER, in_place
from report.wording import differ, duration, fixed, listing, number, percent, share_of, spread, whole

SAMPLERS_KEY = ["sampler", "steps", "eta", "times"]
COMPARED_STEPS = 50
BUSY_PREEMPTIONS, BUSY_SPREAD = 80, 2.0  # from here on clocks are wrong: docs/speed.md has those of an idle machine


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Speed and quality of every sampler, then eta, then the reverse process as a film."""
    rows, eta = joined(reports), reports.table("evaluate/eta.csv")
    answer = (speed_answer(rows), quality_answer(rows), *eta_answer(eta))
    speed, calls = tradeoff_pictures(reports, rows)
    blocks = (
        speed,
        samplers_table(rows),
        samplers_picture(reports, rows),
        calls,
        *second_blocks(reports),
        *in_place(FRONTIER, frontier.findings, reports, params),
        *eta_blocks(reports, eta),
        *film_blocks(reports),
    )
    return Section("samplers", "DDIM and speed", answer, blocks, "Exercise 4")


def joined(reports: Reports) -> pd.DataFrame:
    """A row per sampler setting: quality on the first images (comparable) and on all, and the clock.

    Columns: sampler, steps, eta, times, label, n, kid, kid_std, accuracy, recognised, n_all, fid_all, kid_all,
    kid_std_all, accuracy_all, recall_all, recognised_all, those of benchmark/timing.csv, and `busy`, whether other
    processes spoilt that clock.
    """
    quality, clock = reports.table("evaluate/samplers.csv"), reports.table("benchmark/timing.csv")
    first, whole_set = (quality[quality["subset"] == subset].drop(columns="subset") for subset in ("first", "all"))
    rows = first.merge(whole_set, on=SAMPLERS_KEY, suffixes=("", "_all")).merge(clock, on=SAMPLERS_KEY)
    rows["label"] = [sampler_label(sampler, eta) for sampler, eta in zip(rows["sampler"], rows["eta"], strict=True)]
    return rows.assign(busy=was_busy(reports.record("benchmark/timing.json")))


def was_busy(timing: dict[str, Any]) -> bool:
    """Whether other processes took cores while samplers were timed, or equal evaluations took unequal times."""
    return timing["preemptions_per_second"] > BUSY_PREEMPTIONS or timing["bare_spread"] > BUSY_SPREAD


def compared(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The exercise's pair: DDPM, and deterministic DDIM with the number of steps nearest to 50."""
    ddpm = rows[rows["sampler"] == "ddpm"].iloc[0]
    ddim = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 0)]
    return ddpm, ddim.iloc[(ddim["steps"] - COMPARED_STEPS).abs().argmin()]


def speed_answer(rows: pd.DataFrame) -> str:
    """The wall-clock of the exercise's pair, or that it says nothing."""
    ddpm, ddim = compared(rows)
    if ddpm["busy"]:
        return (
            f"DDIM (η = 0) makes an image in {whole(ddim['calls'])} network evaluations (NFE), DDPM in "
            f"{whole(ddpm['calls'])}. What that is in seconds is not known: the machine was busy while samplers were "
            "timed, so all seconds here are wrong. `dvc repro -f -s benchmark && dvc repro report` measures them again."
        )
    ratio = ddpm["seconds"] / ddim["seconds"]
    faster = f"DDIM is {number(ratio)} times faster" if ratio > 1 else f"DDIM is not faster ({number(ratio)} times)"
    return (
        f"{whole(ddpm['images'])} images take {duration(ddpm['seconds'])} by DDPM with {whole(ddpm['calls'])} network "
        f"evaluations (NFE) and {duration(ddim['seconds'])} by DDIM (η = 0) with {whole(ddim['calls'])}: {faster} "
        f"(median of {whole(ddpm['repeats'])} runs)."
    )


def quality_answer(rows: pd.DataFrame) -> str:
    """Whether the exercise's pair differ: in KID by more than two standard errors, in class accuracy pair by pair."""
    ddpm, ddim = compared(rows)
    figures = f"KID {spread(ddim['kid'], ddim['kid_std'])} against {spread(ddpm['kid'], ddpm['kid_std'])} of DDPM"
    recognised = (
        f"{share_of(ddim['accuracy'], ddim['n'])} against {share_of(ddpm['accuracy'], ddpm['n'])} are recognised"
    )
    found = pairs(ddpm["recognised"], ddim["recognised"])
    verdict = {"same": "no difference beyond the error", "worse": "DDIM is worse", "better": "DDIM is better"}
    return (
        f"In quality, on {whole(ddpm['n'])} images each, {verdict[quality_change(ddpm, ddim)]}: {figures}; "
        f"{recognised} as the class asked for ({pairs_in_words(found, 'DDPM', 'DDIM')})."
    )


def quality_change(before: pd.Series, after: pd.Series) -> str:
    """`same`, `worse` or `better`: the KID of `after` against that of `before`, by two standard errors."""
    if not differ(before["kid"], after["kid"], before["kid_std"], after["kid_std"]):
        return "same"
    return "worse" if after["kid"] > before["kid"] else "better"


def tradeoff_pictures(reports: Reports, rows: pd.DataFrame) -> tuple[Picture, Picture]:
    """Quality against seconds and against network evaluations."""
    images, panel = whole(rows["images"].iloc[0]), tradeoff(rows, reports.record("evaluate/metrics.json"))
    looks = {
        label: sampler_look(sampler, eta)
        for label, sampler, eta in rows[["label", "sampler", "eta"]].itertuples(index=False)
    }
    speed_quality(reports.figure("speed_quality.png"), panel, looks, f"seconds for {images} images")
    quality_by_calls(reports.figure("calls.png"), [panel], looks)
    few = panel.table["value"].isna()
    names = listing(list(dict.fromkeys(panel.table["label"][few])))
    seconds_alone = f" A vertical line shows the seconds alone: {names} has too few samples." if names else ""
    floor = "" if panel.floor is None else "; the horizontal line is what real images score"
    wrong = " The machine was busy: the seconds are wrong." if rows["busy"].any() else ""
    speed = reports.drawn(
        "speed_quality.png",
        f"Seconds for {images} images (logarithmic) against quality; labels are numbers of network evaluations. Left "
        f"and low is good{floor}.{seconds_alone}{wrong}",
        "Quality of each sampler against its time",
    )
    calls = reports.drawn(
        "calls.png",
        "The same quality against the number of network evaluations.",
        "Quality of each sampler against its number of network evaluations",
    )
    return speed, calls


def tradeoff(rows: pd.DataFrame, verdict: dict[str, Any]) -> Panel:
    """FID on all images of a sampler, missing where these are too few; KID on the first where no sampler has an FID.

    The floor of an FID is that of another measurement unless it is of as many images.
    """
    with_fid = rows["fid_all"].notna()
    measure = "fid" if with_fid.any() else "kid"
    n = rows["n_all"][with_fid].min() if with_fid.any() else rows["n"].iloc[0]
    value, error = (rows["fid_all"], 0.0) if with_fid.any() else (rows["kid"], rows["kid_std"])
    floor = verdict[f"{measure}_floor"]
    mean = floor["mean"] if floor.get("n", n) == n else None
    table = rows.assign(value=value, error=error)
    return Panel(f"{measure.upper()} (n = {whole(n)}, lower is better)", table, mean, floor["std"] or 0.0)


def samplers_table(rows: pd.DataFrame) -> Table:
    """Quality and clock side by side."""
    base = compared(rows)[1]
    rows = rows.assign(
        interval=[share_of(*of_all) for of_all in rows[["accuracy_all", "n_all"]].itertuples(index=False)],
        p=[pairs(base["recognised_all"], other).p for other in rows["recognised_all"]],
    )
    columns: list[Column] = [
        ("label", "Sampler", str),
        ("calls", "NFE", whole),
        ("seconds", "Seconds", number),
        ("images_per_second", "Images/s", number),
        ("overhead", "Overhead", fixed),
        ("kid", "KID", number),
        ("kid_std", "± error", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", percent),
        ("n_all", "n, all", whole),
        ("kid_all", "KID, all", number),
        ("fid_all", "FID, all", number),
        ("interval", "Accuracy, all", str),
        ("recall_all", "Recall, all", fixed),
        ("p", "p", lambda value: number(value, 2)),
    ]
    caption = (
        f"Seconds: median for {whole(rows['images'].iloc[0])} images. Overhead: time over that of the same number of "
        f"bare network evaluations (NFE). KID and class accuracy: the first {whole(rows['n'].iloc[0])} images of every "
        "sampler, with the same start noise and classes, so that rows compare; “all” are all images drawn with it, in "
        "brackets the Wilson interval of 95 %. p: McNemar's exact test of class accuracy against "
        f"{base['label']}, {whole(base['calls'])} NFE, pair by pair, on the images that both have."
    )
    return table(rows, with_values(rows, columns), caption)


def second_blocks(reports: Reports) -> list[Block]:
    """Whether the second judge ranks the samplers alike, on all images of each."""
    quality = reports.table("evaluate/samplers.csv")
    both = quality[quality["subset"] == "all"].merge(
        reports.table("evaluate/second.csv"), on=SAMPLERS_KEY, suffixes=("", "_second")
    )
    names = [
        f"{sampler_label(sampler, eta)}, {whole(steps)} steps"
        for sampler, eta, steps in both[["sampler", "eta", "steps"]].itertuples(index=False)
    ]
    rows, floor = both.assign(label=names), reports.record("evaluate/second.json")["floor"]
    shown = Folded("The same samples by both judges", (second_table(rows, floor, "Sampler"),))
    return [Text(second_answer(reports, rows, "samplers")), shown]


def film_blocks(reports: Reports) -> list[Block]:
    """The reverse process: the sampler's state, and the network's estimate."""
    times = [f"{t:,.0f}" for t in reports.table("evaluate/film.csv")["t"]]
    captions = {
        "x_t": "The reverse process by DDPM: xₜ from noise to image; the numbers are t.",
        "x_0": "The network's estimate of x₀ at the same times: at first the mean of what is possible, then one "
        "image of it.",
    }
    blocks: list[Block] = []
    for name, caption in captions.items():
        sheet = f"evaluate/film_{name}.png"
        shown = names_for_pictures(reports.class_names()).take(range(film_rows(reports, sheet, len(times))))
        labelled_sheet(reports.figure(f"film_{name}.png"), reports.path(sheet), shown.drawn, times)
        blocks.append(reports.drawn(f"film_{name}.png", with_legend(caption, shown.legend), caption))
    return blocks


def samplers_picture(reports: Reports, rows: pd.DataFrame) -> Picture:
    """A row of images per sampler."""
    names = [f"{name}, {calls:,}" for name, calls in zip(rows["label"], rows["calls"], strict=True)]
    labelled_sheet(reports.figure("samplers.png"), reports.path("evaluate/samplers.png"), names)
    caption = (
        "The same 16 start noises and classes by every sampler; the number is its network evaluations. Deterministic "
        "samplers with enough steps agree on the image."
    )
    return reports.drawn("samplers.png", caption, "Images of every sampler from the same start noise, a row each")


def film_rows(reports: Reports, sheet: str, columns: int) -> int:
    """The number of rows of a film: one for every class, or for the first of many."""
    width, height = png_size(reports.path(sheet))
    return round(height / (width / columns))
