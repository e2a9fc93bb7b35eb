"""Network calls against quality: the committed results of `make frontier` and `make distill`."""

from typing import Any

import pandas as pd

from report.content import Block, Text, table
from report.plots.samplers import quality_by_calls
from report.reading import Reports, flat
from report.wording import NB, calls_of, differ, duration, fixed, number, percent, spread, whole

FRONTIER = "frontier"
LABELS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "heun": "Heun",
    "dpmpp_2m": "DPM-Solver++(2M)",
    "sde_dpmpp_2m": "SDE-DPM-Solver++(2M)",
    "unipc": "UniPC",
    "euler_maruyama": "Euler–Maruyama",
    "predictor_corrector": "predictor–corrector",
}
TIMES = {"trailing": "even t", "log_snr": "even log-SNR", "karras": "Karras"}
FEW, MORE = 10, 20  # calls that are held against DDPM's
STUDENT = "distilled student"


def label(sampler: str, eta: float) -> str:
    """A sampler as one reads it: eta is named where the sampler has one."""
    name = LABELS.get(sampler, sampler)
    return name if pd.isna(eta) else f"{name}, η{NB}={NB}{eta:g}"


def frontier_blocks(reports: Reports, params: dict[str, Any]) -> list[Block]:
    """Text, picture and table of every sampler at several numbers of calls, and of students where there are some.

    The JSON files are written last, so without them a table is still under way.
    """
    if f"{FRONTIER}/about.json" not in reports:
        return []
    rows = averaged(reports.table(f"{FRONTIER}/frontier.csv"))
    about = reports.record(f"{FRONTIER}/about.json")
    shown, texts = best_times(rows), [*map(Text, other_params(about["params"], params)), Text(answer(rows))]
    if students_belong(reports, about):
        distilled = averaged(reports.table(f"{FRONTIER}/distilled.csv")).assign(label=STUDENT)
        texts.append(Text(students_answer(distilled, reports.record(f"{FRONTIER}/distilled.json")["seconds"])))
        students = distilled[distilled["model"] == "student"].sort_values("calls")
        shown, rows = pd.concat([shown, students.assign(sampler=STUDENT)]), pd.concat([rows, students])
    verdict = reports.record("evaluate/metrics.json")
    floors = {
        "fid": (verdict["fid_floor"]["mean"], verdict["fid_floor"]["std"] or 0.0),
        "precision": (verdict["floor"]["precision"], 0.0),
        "coverage": (verdict["floor"]["coverage"], 0.0),
    }
    names = {"fid": "FID (lower is better)", "precision": "precision", "coverage": "coverage"}
    panels = [
        (names[name], shown.assign(value=shown[name], error=shown[f"{name}_std"]), floor)
        for name, floor in floors.items()
    ]
    quality_by_calls(reports.figure("frontier.png"), panels)
    n, seeds = whole(rows["n"].iloc[0]), whole(rows["seeds"].iloc[0])
    picture = reports.drawn(
        "frontier.png",
        f"Network calls per image (logarithmic) against quality; n = {n}, mean of {seeds} sampling seeds, bars one "
        "standard deviation between them. Every solver with the spacing of times that has its lowest FID.",
        "Quality of every sampler against its network calls",
    )
    return [*texts, picture, frontier_table(rows)]


def students_belong(reports: Reports, about: dict[str, Any]) -> bool:
    """Whether there are students, and of the model that the samplers were measured on."""
    name = f"{FRONTIER}/distilled.json"
    return name in reports and reports.record(name)["model_md5"] == about["model_md5"]


def other_params(measured: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """A warning where what follows was measured on a model of other params than this page is about."""
    here = {key: params[key] for key in measured}
    different = [f"`{key}`: {there}" for key, there in flat(measured).items() if flat(here).get(key) != there]
    return [f"What follows was measured on another model, with {', '.join(different)}."] if different else []


def averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per setting: every figure's mean over the sampling seeds, and its standard deviation as `..._std`."""
    key = [*(name for name in ("model",) if name in rows), "sampler", "steps", "eta", "times", "calls", "n"]
    figures = [name for name in rows.columns if name not in (*key, "seed")]
    groups = rows.groupby(key, sort=False, dropna=False)
    means, stds = groups[figures].mean(), groups[figures].std().fillna(0).add_suffix("_std")
    table = means.join(stds).assign(seeds=groups.size()).reset_index()
    return table.assign(label=[label(s, eta) for s, eta in zip(table["sampler"], table["eta"], strict=True)])


def best_times(rows: pd.DataFrame) -> pd.DataFrame:
    """Of every sampler the rows of the spacing with its lowest FID, labelled `sampler`."""
    named = rows.assign(sampler=rows["label"], spacing=rows["times"].map(TIMES))
    chosen = []
    for name, of_sampler in named.groupby("sampler", sort=False):
        best = of_sampler.loc[of_sampler["fid"].idxmin(), "times"]
        one = of_sampler[of_sampler["times"] == best]
        several = of_sampler["times"].nunique() > 1
        chosen.append(one.assign(sampler=f"{name}, {TIMES[best]}" if several else name).sort_values("calls"))
    return pd.concat(chosen)


def answer(rows: pd.DataFrame) -> str:
    """How far the best sampler of at most 10 and of at most 20 calls is from DDPM with all of them."""
    ddpm = rows[rows["sampler"] == "ddpm"].iloc[0]
    parts, last = [], None
    for calls in (FEW, MORE):
        few = rows[rows["calls"] <= calls]
        best = few.loc[few["fid"].idxmin()]
        if best.name == last:
            parts.append(f"none with up to {whole(calls)} has a lower one")
            continue
        last = best.name
        same = not differ(best["fid"], ddpm["fid"], best["fid_std"], ddpm["fid_std"])
        parts.append(
            f"with {whole(best['calls'])} calls, {best['label']} ({TIMES[best['times']]}) reaches FID "
            f"{spread(best['fid'], best['fid_std'])}, {number(best['fid'] / ddpm['fid'])} times that of DDPM"
            f"{' (no difference beyond the spread of the seeds)' if same else ''}, and {percent(best['accuracy'])} "
            "class accuracy"
        )
    return (
        f"DDPM with {whole(ddpm['calls'])} network calls has FID {spread(ddpm['fid'], ddpm['fid_std'])} and "
        f"{percent(ddpm['accuracy'])} class accuracy (n = {whole(ddpm['n'])}, mean and standard deviation of "
        f"{whole(ddpm['seeds'])} sampling seeds): {'; '.join(parts)}."
    )


def students_answer(rows: pd.DataFrame, seconds: float) -> str:
    """How far students of few calls are from their teacher."""
    (teacher,) = rows[rows["model"] == "teacher"].to_dict("records")
    parts = [
        f"{calls_of(row['calls'])}: FID {spread(row['fid'], row['fid_std'])}, "
        f"{number(row['fid'] / teacher['fid'])} times the teacher's, and {percent(row['accuracy'])} class accuracy"
        for row in rows[rows["model"] == "student"].sort_values("calls", ascending=False).to_dict("records")
    ]
    return (
        f"Students distilled from the model in {duration(seconds)} (`make distill`; each takes in one step what its "
        f"teacher takes in two) against the model with {whole(teacher['calls'])} calls (DDIM, FID "
        f"{spread(teacher['fid'], teacher['fid_std'])}, {percent(teacher['accuracy'])} class accuracy). "
        f"{'; '.join(parts)}."
    )


def frontier_table(rows: pd.DataFrame) -> Block:
    """Every setting, by calls and then by FID."""
    shown = rows.assign(times=rows["times"].map(TIMES)).sort_values(["calls", "fid"])
    columns = [
        ("calls", "Calls", whole),
        ("label", "Sampler", str),
        ("times", "Times", str),
        ("fid", "FID", number),
        ("fid_std", "± seeds", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", percent),
        ("precision", "Precision", fixed),
        ("recall", "Recall", fixed),
        ("density", "Density", fixed),
        ("coverage", "Coverage", fixed),
    ]
    return table(shown, columns, "Every sampler and spacing of times (`make frontier`), by calls and FID.")
