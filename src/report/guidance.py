"""Exercise 5: what the guidance scale does to fidelity, coverage, diversity, sharpness and saturation."""

from typing import Any

import pandas as pd

from report.content import Block, Folded, Gallery, Section, Text, table, with_values
from report.overview import confusion_matrix
from report.plots.confusion import confusions
from report.plots.guidance import fidelity_by_limit, fidelity_coverage, measures_by_scale
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, listing, movement, number, percent, share_error, whole

TOLERANCE = 0.02
PLAIN = 1.0


def guidance_section(reports: Reports, params: dict[str, Any]) -> Section:
    """Exercise 5."""
    rows, verdict = reports.table("guidance/metrics.csv"), reports.record("evaluate/metrics.json")
    blocks = (
        *_sheets(reports, rows),
        guidance_table(rows, verdict),
        *_curves(reports, rows, verdict),
        _confusion(reports, rows),
        *limited_blocks(reports, rows, params),
    )
    return Section("guidance", "Classifier-free guidance", tuple(guidance_answer(rows)), blocks, "Exercise 5")


def ends(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """Plain conditional sampling (w = 1, or the weakest above) and the strongest guidance; None where they are one."""
    above = rows[rows["scale"] >= PLAIN].sort_values("scale")
    return None if len(above) < 2 else (above.iloc[0], above.iloc[-1])


def guidance_answer(rows: pd.DataFrame) -> list[str]:
    """Sentences on what stronger guidance does, each direction from the figures."""
    pair = ends(rows)
    sentences = [] if pair is None else [_fidelity_sentence(*pair), _cost_sentence(*pair)]
    weak = rows[rows["scale"] < PLAIN].sort_values("scale")
    if len(weak):
        first = weak.iloc[0]
        kind = "Without condition (w = 0)" if first["scale"] == 0 else f"At w = {first['scale']:g}"
        sentences.append(
            f"{kind} {percent(first['accuracy'])} are read as the class asked for (n = {whole(first['n'])})."
        )
    return sentences or ["One scale alone shows no trend: add more to `guidance.scales`."]


def change(weak: pd.Series, strong: pd.Series, measure: str) -> str:
    """`rises`, `falls` or `stays`: by more than 0.02, and for accuracy also more than two standard errors."""
    tolerance = TOLERANCE
    if measure == "accuracy":
        errors = (share_error(row["accuracy"], row["n"]) for row in (weak, strong))
        tolerance = 2 * sum(error**2 for error in errors) ** 0.5
    return movement(weak[measure], strong[measure], tolerance, "rises", "falls", "stays")


def _fidelity_sentence(weak: pd.Series, strong: pd.Series) -> str:
    verb = {
        "rises": "lifts class fidelity",
        "falls": "does not help class fidelity but lowers it",
        "stays": "leaves class fidelity where it was, within the error",
    }[change(weak, strong, "accuracy")]
    sharper = {"rises": "sharper", "falls": "softer", "stays": "about as sharp"}[change(weak, strong, "sharpness")]
    return (
        f"Guidance of w = {strong['scale']:g} instead of {weak['scale']:g} {verb} ({percent(weak['accuracy'])} to "
        f"{percent(strong['accuracy'])} read as the class asked for, "
        f"n = {whole(strong['n'])} each), and images become {sharper} (gradient energy {fixed(weak['sharpness'])} "
        f"to {fixed(strong['sharpness'])} of that of real images)."
    )


def _cost_sentence(weak: pd.Series, strong: pd.Series) -> str:
    parts = [
        f"{name} {change(weak, strong, key)} from {fixed(weak[key])} to {fixed(strong[key])}"
        for key, name in (("coverage", "coverage"), ("diversity", "diversity within a class"))
        if pd.notna(weak[key]) and pd.notna(strong[key])
    ]
    falls = [key for key in ("coverage", "diversity") if pd.notna(weak[key]) and change(weak, strong, key) == "falls"]
    opening = "The price is variety" if falls else "No price in variety was measured"
    pixels = (
        f"{percent(strong['saturation'])} of the predicted pixels lie beyond the range of images before "
        f"clipping, {percent(weak['saturation'])} at w = {weak['scale']:g}"
    )
    return f"{opening}: {listing([*parts, pixels])}."


def guidance_table(rows: pd.DataFrame, verdict: dict[str, Any]) -> Block:
    """A row per scale."""
    columns = [
        ("scale", "w", lambda value: f"{value:g}"),
        ("n", "n", whole),
        ("accuracy", "Class accuracy", percent),
        ("fid", "FID", lambda value: fixed(value, 1)),
        *(
            (key, key.capitalize(), fixed)
            for key in ("precision", "recall", "density", "coverage", "diversity", "sharpness")
        ),
        ("saturation", "Saturation", percent),
        ("calls_per_image", "Calls", whole),
    ]
    floor = {key: value for key, value in verdict["floor"].items() if value is not None}
    real = (
        f"; real images at n = {whole(verdict['n'])}: "
        f"{listing([f'{key} {fixed(value)}' for key, value in floor.items()])}"
        if floor
        else ""
    )
    caption = (
        "Diversity: feature distance within a class; sharpness: gradient energy; both over those of real images. "
        "Saturation: share of pixels of the predicted x₀ beyond ±1 before clipping. "
        f"Same start noise at every w{real}."
    )
    return table(rows, with_values(rows, columns), caption)


def limited_blocks(reports: Reports, rows: pd.DataFrame, params: dict[str, Any]) -> list[Block]:
    """Guidance in an interval of log-SNR alone, and rescaled, beside guidance everywhere."""
    limited = reports.table("guidance/limited.csv")
    if limited.empty:
        return []
    everywhere = rows[rows["scale"].isin(limited["scale"])].assign(limit="everywhere")
    shown = pd.concat([everywhere, limited]).sort_values("scale", kind="stable")
    first, last = params["guidance"]["interval"]
    names = {
        "everywhere": "everywhere",
        "interval": f"at log-SNR {_bound(first)} to {_bound(last)} alone",
        "rescale": f"everywhere, rescaled by {params['guidance']['rescale']:g}",
    }
    shown = shown.assign(limit=shown["limit"].map(names))
    columns = [
        ("scale", "w", lambda value: f"{value:g}"),
        ("limit", "Guided", str),
        ("calls_per_image", "Calls", number),
        *((key, heading, percent) for key, heading in (("accuracy", "Class accuracy"), ("saturation", "Saturation"))),
        *((key, key.capitalize(), fixed) for key in ("precision", "coverage", "diversity", "sharpness")),
    ]
    caption = f"Guidance that costs less and saturates less, n = {whole(shown['n'].iloc[0])} each, same start noise."
    sentences = [_limited_sentence(limited, everywhere, limit, name) for limit, name in list(names.items())[1:]]
    blocks = [Text(" ".join(sentences)), table(shown, with_values(shown, columns), caption)]
    weak = rows[rows["scale"] == PLAIN].assign(limit="everywhere")
    if shown["coverage"].notna().any():
        lines = pd.concat([weak.assign(limit=name) for name in names.values()] + [shown]).sort_values("scale")
        fidelity_by_limit(reports.figure("guidance_limited.png"), lines)
        trade = reports.drawn(
            "guidance_limited.png",
            "The same trade-off with guidance everywhere, in the interval alone, and rescaled. Up and right is good.",
            "Class accuracy against coverage by guidance scale and limit",
        )
        blocks.insert(1, trade)
    labelled_sheet(
        reports.figure("guidance_limited_samples.png"),
        reports.folder / "guidance/limited.png",
        reports.row_names(),
        ["plain", "interval", "rescale"],
    )
    sheet = reports.drawn(
        "guidance_limited_samples.png",
        f"Guided by w = {shown['scale'].max():g} everywhere, in the interval, and rescaled: same start noise.",
        "Classes against ways of guiding",
    )
    return [*blocks, sheet]


def _bound(log_snr: float) -> str:
    return f"{log_snr:g}".replace("-", "−")


def _limited_sentence(limited: pd.DataFrame, everywhere: pd.DataFrame, limit: str, name: str) -> str:
    """What a limit changes at the largest scale."""
    before, after = (rows.loc[rows["scale"].idxmax()] for rows in (everywhere, limited[limited["limit"] == limit]))
    saved = 1 - after["calls_per_image"] / before["calls_per_image"]
    parts = [f"{percent(saved)} of the network calls are saved"] if saved > 0 else []
    if pd.notna(before["coverage"]):
        now, was = fixed(after["coverage"]), fixed(before["coverage"])
        parts.append(f"coverage stays {now}" if now == was else f"coverage is {now} instead of {was}")
    parts.append(f"saturation {percent(after['saturation'])} instead of {percent(before['saturation'])}")
    fidelity = {
        "rises": "higher",
        "falls": "lower",
        "stays": "equal within the error",
    }[change(before, after, "accuracy")]
    return (
        f"At w = {after['scale']:g}, guided {name}: {listing(parts)}, class accuracy {fidelity} "
        f"({percent(after['accuracy'])} against {percent(before['accuracy'])})."
    )


def _sheets(reports: Reports, rows: pd.DataFrame) -> list[Block]:
    scales = [f"w = {scale:g}" for scale in rows["scale"]]
    labelled_sheet(reports.figure("guidance.png"), reports.folder / "guidance/sheet.png", reports.row_names(), scales)
    caption = "Each row one class and one start noise, each column a guidance scale."
    sheet = reports.drawn("guidance.png", caption, "Classes against guidance scales")
    by_scale = [
        reports.picture(f"guidance/sheet_{scale:g}.png", f"w = {scale:g}", f"Samples of every class at w = {scale:g}")
        for scale in rows["scale"]
        if f"guidance/sheet_{scale:g}.png" in reports
    ]
    return [sheet, Folded("Ten images a class at every scale", (Gallery(tuple(by_scale)),))] if by_scale else [sheet]


def _curves(reports: Reports, rows: pd.DataFrame, verdict: dict[str, Any]) -> list[Block]:
    measures = {
        "accuracy": "class accuracy",
        "coverage": "coverage",
        "diversity": "diversity",
        "sharpness": "sharpness",
        "saturation": "saturation",
    }
    measures = {key: name for key, name in measures.items() if rows[key].notna().any()}
    measures_by_scale(reports.figure("guidance_measures.png"), rows, measures)
    by_scale = reports.drawn(
        "guidance_measures.png",
        "Each measure against the guidance scale; 1 is the value of real images for diversity and sharpness.",
        "Measures against guidance scale",
    )
    if not rows["coverage"].notna().any():
        return [by_scale]
    fidelity_coverage(reports.figure("guidance_tradeoff.png"), rows, verdict["floor"])
    trade = reports.drawn(
        "guidance_tradeoff.png",
        "Fidelity against coverage, w along the line. Up and right is good.",
        "Fidelity against coverage by guidance scale",
    )
    return [Gallery((trade, by_scale))]


def _confusion(reports: Reports, rows: pd.DataFrame) -> Block:
    counts, names = reports.table("guidance/confusion.csv"), reports.class_names()
    matrices = {f"w = {scale:g}": confusion_matrix(counts[counts["scale"] == scale], names) for scale in rows["scale"]}
    confusions(reports.figure("guidance_confusion.png"), matrices, names)
    return reports.drawn(
        "guidance_confusion.png",
        "What the judge reads at each scale: row = class asked for, column = class read.",
        "Confusion matrices by guidance scale",
    )
