"""What guidance changes, in words: each direction follows from the figures and their errors."""

from itertools import combinations

import pandas as pd

from report.paired import pairs, pairs_in_words
from report.wording import fixed, listing, movement, percent, share_of, whole

TOLERANCE = 0.02
CONDITIONAL = 1.0  # the scale of conditional sampling without guidance


def ends(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """Conditional sampling (w = 1, or the weakest above) and the strongest guidance; None where they are one."""
    above = rows[rows["scale"] >= CONDITIONAL].sort_values("scale")
    return None if len(above) < 2 else (above.iloc[0], above.iloc[-1])


def guidance_answer(rows: pd.DataFrame) -> list[str]:
    """Sentences on what stronger guidance does."""
    pair = ends(rows)
    sentences = [] if pair is None else [_fidelity_sentence(*pair), second_sentence(rows), _cost_sentence(*pair)]
    weak = rows[rows["scale"] < CONDITIONAL].sort_values("scale")
    if len(weak):
        first = weak.iloc[0]
        kind = "Unconditional samples (w = 0)" if first["scale"] == 0 else f"Samples at w = {first['scale']:g}"
        sentences.append(
            f"{kind} are recognised as the class asked for in {share_of(first['accuracy'], first['n'])} of "
            f"n = {whole(first['n'])} cases."
        )
    return sentences or ["One scale alone shows no trend: add more to `guidance.scales`."]


def change(weak: pd.Series, strong: pd.Series, measure: str) -> str:
    """`rises`, `falls` or `stays`: by more than 0.02, and accuracy by McNemar's test: rows share start noise."""
    if measure == "accuracy":
        return pairs(weak["recognised"], strong["recognised"]).movement
    return movement(weak[measure], strong[measure], TOLERANCE, "rises", "falls", "stays")


def second_sentence(rows: pd.DataFrame) -> str:
    """Whether a second judge ranks scales from w = 1 on as the first does, by class accuracy and McNemar's test."""
    above = rows[rows["scale"] >= CONDITIONAL].sort_values("scale")
    weak, strong = above.iloc[0], above.iloc[-1]
    movements = [
        [pairs(a[f"recognised{of}"], b[f"recognised{of}"]).movement for of in ("", "_second")]
        for a, b in combinations(above.to_dict("records"), 2)
    ]
    clear = [both for both in movements if "stays" not in both]
    opposite = sum(first != second for first, second in clear)
    opening = (
        f"A second judge of another architecture recognises {percent(weak['accuracy_second'])} and "
        f"{percent(strong['accuracy_second'])}. Of {whole(len(movements))} pairs of scales both judges tell "
        f"{whole(len(clear))} apart by that test"
    )
    if not clear:
        return f"{opening}: it neither confirms nor contradicts the ranking by class accuracy."
    if not opposite:
        return f"{opening}, and rank {'it' if len(clear) == 1 else 'all of them'} alike."
    return f"{opening}; they rank {whole(opposite)} of these the other way around, so that order rests on the judge."


def _fidelity_sentence(weak: pd.Series, strong: pd.Series) -> str:
    verb = {
        "rises": "raises class fidelity",
        "falls": "does not help class fidelity but lowers it",
        "stays": "leaves class fidelity where it was, within the error",
    }[change(weak, strong, "accuracy")]
    sharper = {"rises": "sharper", "falls": "softer", "stays": "about as sharp"}[change(weak, strong, "sharpness")]
    shares = [share_of(row["accuracy"], row["n"]) for row in (weak, strong)]
    scales = [f"w = {row['scale']:g}" for row in (weak, strong)]
    found = pairs_in_words(pairs(weak["recognised"], strong["recognised"]), *scales)
    return (
        f"Guidance with w = {strong['scale']:g} instead of {weak['scale']:g} {verb} ({shares[0]} to {shares[1]} "
        f"recognised as the class asked for, n = {whole(strong['n'])} each; {found}), and images become {sharper} "
        f"(gradient energy {fixed(weak['sharpness'])} to {fixed(strong['sharpness'])} of that of real images)."
    )


def _cost_sentence(weak: pd.Series, strong: pd.Series) -> str:
    parts = [
        f"{name} {change(weak, strong, key)} from {fixed(weak[key])} to {fixed(strong[key])}"
        for key, name in (("recall", "recall"), ("coverage", "coverage"), ("diversity", "diversity within a class"))
        if pd.notna(weak[key]) and pd.notna(strong[key])
    ]
    falls = [
        key
        for key in ("recall", "coverage", "diversity")
        if pd.notna(weak[key]) and change(weak, strong, key) == "falls"
    ]
    opening = "The price is variety" if falls else "No price in variety was measured"
    pixels = (
        f"{percent(strong['saturation'])} of the predicted pixels lie beyond the range of images before clipping, "
        f"against {percent(weak['saturation'])} at w = {weak['scale']:g}"
    )
    return f"{opening}: {listing([*parts, pixels])}."
