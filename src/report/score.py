"""The score-based view: samplers from it, scores that are known, bits per dimension, and the ODE run backwards."""

import pandas as pd

from report.content import Block, Section, table, with_values
from report.density import bits_answer, bits_blocks
from report.frontier import label
from report.mixtures import field_answer, mixture_blocks
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import fixed, listing, number, percent, spread, whole


def score_section(reports: Reports) -> Section:
    """The lesson's part 6."""
    answer = (
        field_answer(reports.table("score/mixture_error.csv")),
        samplers_answer(reports.table("score/samplers.csv")),
        bits_answer(reports.table("score/bits.csv")),
        inversion_answer(reports.table("score/inversion.csv")),
    )
    blocks = (*mixture_blocks(reports), *sampler_blocks(reports), *bits_blocks(reports), *inversion_blocks(reports))
    return Section("score", "The score-based view", answer, blocks, "Lesson, part 6")


def samplers_answer(rows: pd.DataFrame) -> str:
    """The best of the SDE, of the corrector and of the ODE on all images."""
    rows = rows[rows["subset"] == "all"]
    measure = "kid" if rows["fid"].isna().any() else "fid"
    parts = []
    for names in (("euler_maruyama",), ("predictor_corrector",), ("heun", "adaptive")):
        of_kind = rows[rows["sampler"].isin(names)]
        best = of_kind.loc[of_kind[measure].idxmin()]
        parts.append(
            f"{named(best)} {number(best[measure])} with {whole(best['calls'])} network calls per image "
            f"({percent(best['accuracy'])} read as their class)"
        )
    return (
        f"The same model sampled by its score, {measure.upper()} on n = {whole(rows['n'].iloc[0])}: {listing(parts)}."
    )


def inversion_answer(rows: pd.DataFrame) -> str:
    """How near a digit comes back, with the fewest and with the most steps."""
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"DDIM runs backwards: test digits turned into noise and back differ by {_error(first)} with "
        f"{whole(first['steps'])} steps and by {_error(last)} with {whole(last['steps'])} "
        f"(root mean square over pixels from −1 to 1, n = {whole(last['n'])})."
    )


def named(row: pd.Series) -> str:
    """A sampler of this section as one reads it."""
    return "the adaptive solver" if row["sampler"] == "adaptive" else label(row["sampler"], row["eta"])


def sampler_blocks(reports: Reports) -> list[Block]:
    """The rows of stage `score` beside DDPM's and DDIM's of stage `evaluate`."""
    made, known = reports.table("score/samplers.csv"), reports.table("evaluate/samplers.csv")
    known = known[known["sampler"].isin(("ddpm", "ddim"))].assign(calls=known["steps"])
    rows = pd.concat([made, known])
    every, first = (rows[rows["subset"] == subset] for subset in ("all", "first"))
    key = ["sampler", "steps", "eta", "times"]
    shown = every.merge(first[[*key, "n", "kid", "kid_std", "accuracy"]], on=key, suffixes=("", "_first"))
    shown = shown.assign(name=[named(row) for _, row in shown.iterrows()]).sort_values("calls", kind="stable")
    columns = [
        ("name", "Sampler", str),
        ("calls", "Calls", whole),
        ("kid_first", "KID", number),
        ("kid_std_first", "± error", lambda value: number(value, 2)),
        ("accuracy_first", "Class accuracy", percent),
        ("n", "n, all", whole),
        ("fid", "FID, all", number),
        ("kid", "KID, all", number),
        ("accuracy", "Accuracy, all", percent),
        ("coverage", "Coverage, all", fixed),
    ]
    caption = (
        f"Samplers of the score beside DDPM and DDIM. Calls: of the network per image. KID and class accuracy: first "
        f"{whole(first['n'].iloc[0])} images of each, same start noise and classes; “all” are all images drawn."
    )
    names = [f"{named(row)}, {whole(row['calls'])}" for _, row in made[made["subset"] == "all"].iterrows()]
    labelled_sheet(reports.figure("score_samplers.png"), reports.folder / "score/samplers.png", names)
    sheet = reports.drawn(
        "score_samplers.png",
        "The same 16 start noises and classes by each of them; the number is network calls per image.",
        "Images of the samplers of the score, a row each",
    )
    return [table(shown, with_values(shown, columns), caption), sheet]


def inversion_blocks(reports: Reports) -> list[Block]:
    """Digits to noise and back, and digits between two others."""
    rows = reports.table("score/inversion.csv")
    names = ["test digits", *(f"{whole(steps)} steps" for steps in rows["steps"])]
    labelled_sheet(reports.figure("score_inversion.png"), reports.folder / "score/inversion.png", names)
    labelled_sheet(reports.figure("score_interpolation.png"), reports.folder / "score/interpolation.png", [], [])
    columns = [
        ("steps", "Steps each way", whole),
        ("n", "n", whole),
        ("rms_error", "Difference", number),
        ("error", "± error", lambda value: number(value, 2)),
        ("noise_std", "Spread of the noise", fixed),
        ("clean_noise_std", "From the clean digit", fixed),
    ]
    caption = (
        "Test digits to noise and back by DDIM, no class told: root mean square difference (pixels from −1 to 1), and "
        "the standard deviation of the noise they were turned into, 1 if it is as normal as it should be. The digit "
        "starts as x₁, with the little noise that belongs to t = 1: a clean one is no point of the flow, and ends "
        "nearer to 0."
    )
    return [
        table(rows, columns, caption),
        reports.drawn("score_inversion.png", "Test digits, and what comes back from their noise.", "Digits and back"),
        reports.drawn(
            "score_interpolation.png",
            f"Between two test digits, on the great circle between their noises, {whole(rows['steps'].iloc[-1])} steps "
            "each way, no class told: the ends are the digits themselves.",
            "Rows of images that lead from one digit to another",
        ),
    ]


def _error(row: pd.Series) -> str:
    return spread(row["rms_error"], row["error"])
