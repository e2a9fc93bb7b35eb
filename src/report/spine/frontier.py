"""Network evaluations against quality: the committed results of `make frontier` and `make distill`."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from report.content import Column, Picture, Table, table, with_values
from report.looks import MEAN_FLOW, SPACINGS, STUDENT, sampler_label, sampler_look
from report.plots.samplers import Panel, quality_by_calls
from report.reading import Reports
from report.studies import FRONTIER, Findings
from report.wording import differ, duration, fixed, nfe, number, percent, ratio, spread, whole

FEW, MORE = 10, 20  # network evaluations that are compared with DDPM's
TRAINED_FOR_FEW = {"student": ("distilled student", STUDENT), "mean_flow": ("MeanFlow", MEAN_FLOW)}  # by `model`
MEASURES = {"fid": "FID (lower is better)", "precision": "precision", "coverage": "coverage"}


def findings(reports: Reports, params: dict[str, Any]) -> Findings:
    """Text, picture and table of every sampler at several numbers of evaluations, and of models that were trained for
    few if there are any."""
    rows = averaged(reports.table("frontier/frontier.csv"))
    shown, texts = best_spacings(rows), [answer(rows)]
    if students_belong(reports, FRONTIER.about(reports)):
        distilled, about = averaged(reports.table("frontier/distilled.csv")), reports.record("frontier/distilled.json")
        texts.append(students_answer(distilled, about["seconds"]))
        if "mean_flow" in about:
            texts.append(mean_flow_answer(distilled, about["mean_flow"]))
        for model, (name, _) in TRAINED_FOR_FEW.items():
            few = distilled[distilled["model"] == model].sort_values("calls").assign(label=name)
            shown, rows = pd.concat([shown, few]), pd.concat([rows, few])
    return Findings(tuple(texts), (frontier_picture(reports, shown), frontier_table(rows)))


def students_belong(reports: Reports, about: dict[str, Any]) -> bool:
    """Whether there are students, and of the model that the samplers were measured on; their record is written last."""
    name = "frontier/distilled.json"
    return name in reports and reports.record(name)["model_md5"] == about["model_md5"]


def averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per setting: every figure's mean over the sampling seeds, and its standard deviation as `..._std`."""
    key = [*(name for name in ("model",) if name in rows), "sampler", "steps", "eta", "times", "calls", "n"]
    figures = [name for name in rows.columns if name not in (*key, "seed")]
    groups = rows.groupby(key, sort=False, dropna=False)
    means, stds = groups[figures].mean(), groups[figures].std().fillna(0).add_suffix("_std")
    table = means.join(stds).assign(seeds=groups.size()).reset_index()
    return table.assign(label=[sampler_label(s, eta) for s, eta in zip(table["sampler"], table["eta"], strict=True)])


def best_spacings(rows: pd.DataFrame) -> pd.DataFrame:
    """Of every sampler the rows of the timestep spacing with its lowest FID, which its `label` then names."""
    chosen = []
    for name, of_sampler in rows.groupby("label", sort=False):
        best = of_sampler["times"].iloc[of_sampler["fid"].argmin()]
        several = of_sampler["times"].nunique() > 1
        one = of_sampler[of_sampler["times"] == best].sort_values("calls")
        chosen.append(one.assign(label=f"{name}, {SPACINGS[best]}" if several else name))
    return pd.concat(chosen)


def answer(rows: pd.DataFrame) -> str:
    """How far the best sampler with at most 10 and with at most 20 evaluations is from DDPM with all of them."""
    ddpm = rows[rows["sampler"] == "ddpm"].iloc[0]
    parts, last = [], None
    for calls in (FEW, MORE):
        few = rows[rows["calls"] <= calls]
        best = few.iloc[few["fid"].argmin()]
        if best.name == last:
            parts.append(f"none with up to {whole(calls)} has a lower one")
            continue
        last = best.name
        same = not differ(best["fid"], ddpm["fid"], best["fid_std"], ddpm["fid_std"])
        parts.append(
            f"with {nfe(best['calls'])}, {best['label']} (timesteps {SPACINGS[best['times']]}) reaches FID "
            f"{spread(best['fid'], best['fid_std'])}, {number(ratio(best['fid'], ddpm['fid']))} times that of DDPM"
            f"{' (no difference beyond the spread of the seeds)' if same else ''}, and {percent(best['accuracy'])} "
            "class accuracy"
        )
    return (
        f"DDPM with {whole(ddpm['calls'])} network evaluations (NFE) has FID {spread(ddpm['fid'], ddpm['fid_std'])} "
        f"and {percent(ddpm['accuracy'])} class accuracy (n = {whole(ddpm['n'])}, mean and standard deviation of "
        f"{whole(ddpm['seeds'])} sampling seeds): {'; '.join(parts)}."
    )


def students_answer(rows: pd.DataFrame, seconds: float) -> str:
    """How far students with few evaluations are from their teacher."""
    (teacher,) = rows[rows["model"] == "teacher"].to_dict("records")
    parts = [
        f"{nfe(row['calls'])}: FID {spread(row['fid'], row['fid_std'])}, "
        f"{number(ratio(row['fid'], teacher['fid']))} times the teacher's, and {fidelity(row)}"
        for row in by_calls(rows, "student")
    ]
    return (
        f"Students distilled from the model in {duration(seconds)} (`make distill`; each takes in one step what its "
        f"teacher takes in two) against the model with {nfe(teacher['calls'])} (DDIM, FID "
        f"{spread(teacher['fid'], teacher['fid_std'])}, {fidelity(teacher)}). "
        f"{'; '.join(parts)}."
    )


def mean_flow_answer(rows: pd.DataFrame, training: dict[str, Any]) -> str:
    """How far a model is from students of as many evaluations that was trained for few from the start."""
    students = {row["calls"]: row for row in by_calls(rows, "student")}
    parts = []
    for row in by_calls(rows, "mean_flow"):
        student = students[row["calls"]]
        same = not differ(row["fid"], student["fid"], row["fid_std"], student["fid_std"])
        parts.append(
            f"{nfe(row['calls'])}: FID {spread(row['fid'], row['fid_std'])}, "
            f"{number(ratio(row['fid'], student['fid']))} times that of the student with as many"
            f"{' (no difference beyond the spread of the seeds)' if same else ''}, and {fidelity(row)}"
        )
    return (
        "MeanFlow (Geng et al. 2025) has no teacher: a network of the same size is trained from its first weights to "
        f"predict the average velocity over an interval of time, which takes one step across it. After "
        f"{whole(training['updates'])} training steps in {duration(training['seconds'])}: {'; '.join(parts)}."
    )


def by_calls(rows: pd.DataFrame, model: str) -> list[dict[Hashable, Any]]:
    """The rows of a model, most network evaluations first."""
    return rows[rows["model"] == model].sort_values("calls", ascending=False).to_dict("records")


def fidelity(row: Mapping[Hashable, Any]) -> str:
    """Class accuracy, and recall, which falls where accuracy is bought with variety."""
    return f"{percent(row['accuracy'])} class accuracy, recall {fixed(row['recall'])}"


def frontier_picture(reports: Reports, shown: pd.DataFrame) -> Picture:
    """FID, precision and coverage against network evaluations, with the floors of the verdict if it is of its data."""
    verdict = reports.record("evaluate/metrics.json")
    floors = verdict["floor"] | {"fid": verdict["fid_floor"]["mean"]} if FRONTIER.speaks(reports) else {}
    panels = [
        Panel(
            heading,
            shown.assign(value=shown[name], error=shown[f"{name}_std"]),
            floors.get(name),
            (verdict["fid_floor"]["std"] or 0.0) if name == "fid" else 0.0,
        )
        for name, heading in MEASURES.items()
    ]
    trained = dict(TRAINED_FOR_FEW.values())
    looks = {
        label: trained.get(label) or sampler_look(sampler, eta)
        for label, sampler, eta in shown[["label", "sampler", "eta"]].itertuples(index=False)
    }
    quality_by_calls(reports.figure("frontier.png"), panels, looks)
    caption = (
        f"Network evaluations per image (logarithmic) against quality; n = {whole(shown['n'].iloc[0])}, mean of "
        f"{whole(shown['seeds'].iloc[0])} sampling seeds, bars one standard deviation between them. Every solver with "
        "the timestep spacing that has its lowest FID."
    )
    return reports.drawn("frontier.png", caption, "Quality of every sampler against its network evaluations")


def frontier_table(rows: pd.DataFrame) -> Table:
    """Every setting, by evaluations and then by FID."""
    shown = rows.assign(times=rows["times"].map(SPACINGS)).sort_values(["calls", "fid"])
    columns: list[Column] = [
        ("calls", "NFE", whole),
        ("label", "Sampler", str),
        ("times", "Timesteps", str),
        ("fid", "FID", number),
        ("fid_std", "± seeds", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", percent),
        ("recall", "Recall", fixed),
        ("precision", "Precision", fixed),
        ("clipped_density", "Clipped density", fixed),
        ("coverage", "Coverage", fixed),
    ]
    return table(
        shown, with_values(shown, columns), "Every sampler and timestep spacing (`make frontier`), by NFE and FID."
    )
