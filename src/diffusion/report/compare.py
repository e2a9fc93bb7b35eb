"""Diffusion, GAN and VAE: the lesson's summary table beside the measured one, and what it was measured from."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from diffusion import plots
from diffusion.report.content import Block, Cell, Picture, Section, Table, Text, table
from diffusion.report.reading import Reports
from diffusion.report.wording import duration, fixed, listing, number, percent, spread, whole

AGREES, DISAGREES, OPEN = "agrees", "does not agree", "not measured"
NAMES = {"diffusion": "Diffusion", "gan": "GAN", "vae": "VAE"}
TRAINED_IN = {"diffusion": "train", "gan": "gan", "vae": "vae"}  # stage, and section of params
LESSON = {
    # property: (diffusion, GAN, VAE)
    "Training stability": ("very high", "low", "high"),
    "Image quality": ("best", "good", "blurry"),
    "Sampling speed": ("slow", "fast", "fast"),
    "Mode coverage": ("good", "mode collapse", "good"),
    "Density estimation": ("possible", "not possible", "possible"),
}
GOOD = 0.9  # of what real images score: good precision, coverage, sharpness
COLLAPSED = 0.5  # of the coverage of real images within a class
FAST = 10  # times the images per second of diffusion with all its calls
STEADY = 0.9  # of the best run's class accuracy: a run below it has failed
STABILITY, SCORE = "stability/runs.csv", "score/bits.csv"


class Measured(NamedTuple):
    """What was measured of a property and a model, and which of the lesson's words it earns."""

    text: str
    earned: frozenset[str] | None  # None: not measured


def compare_section(reports: Reports, params: dict[str, Any]) -> Section:
    """The lesson's part 10."""
    quality, clock = reports.table("compare/quality.csv"), reports.table("compare/timing.csv")
    floor, density = reports.record("compare/metrics.json")["floor"], densities(reports)
    best = first_rows(quality)
    rows = list(judged(reports, best, clock, floor, density))
    answer = (
        verdict_answer(rows),
        quality_answer(best, floor),
        speed_answer(clock),
        density_answer(density),
    )
    return Section(
        "compare",
        "Diffusion, GAN, VAE",
        answer,
        (
            samples_picture(reports, quality),
            lesson_table(rows),
            Text(budgets(reports, params)),
            quality_table(quality, floor),
            tradeoff(reports, quality, clock, floor),
            clock_table(clock),
            density_table(density),
            reconstructions(reports),
            *stability_blocks(reports),
        ),
        "The lesson's table",
    )


def first_rows(quality: pd.DataFrame) -> pd.DataFrame:
    """A row per model, by its name: of diffusion that with the most calls."""
    return quality.sort_values("calls", ascending=False).drop_duplicates("model").set_index("model", drop=False)


def judged(
    reports: Reports, best: pd.DataFrame, clock: pd.DataFrame, floor: dict[str, Any], density: pd.DataFrame
) -> Iterator[tuple[str, str, str, str, str]]:
    """(property, model, what the lesson says, what was measured, whether they agree) for its every entry."""
    measures: dict[str, Callable[[str], Measured]] = {
        "Training stability": lambda model: stability(reports, model),
        "Image quality": lambda model: looks(model, best, floor),
        "Sampling speed": lambda model: speed(model, clock),
        "Mode coverage": lambda model: coverage(model, best, floor),
        "Density estimation": lambda model: likelihood(model, density),
    }
    for name, words in LESSON.items():
        for model, word in zip(NAMES, words, strict=True):
            text, earned = measures[name](model)
            verdict = OPEN if earned is None else AGREES if word in earned else DISAGREES
            yield name, NAMES[model], word, text, verdict


def looks(model: str, best: pd.DataFrame, floor: dict[str, Any]) -> Measured:
    """`best` has the lowest FID, `good` the precision of real images nearly, `blurry` less sharpness than they."""
    row = best.loc[model]
    text = f"precision {fixed(row['precision'])}, sharpness {fixed(row['sharpness'])} of real images"
    if pd.isna(row["fid"]):
        return Measured(f"KID {spread(row['kid'], row['kid_std'])}, {text}", None)
    words = {
        "best": row["fid"] == best["fid"].min(),
        "good": row["precision"] >= GOOD * floor["mean"]["precision"],
        "blurry": row["sharpness"] < GOOD,
    }
    return Measured(f"FID {number(row['fid'])}, {text}", _earned(words))


def speed(model: str, clock: pd.DataFrame) -> Measured:
    """`fast` makes ten times the images per second of diffusion with all its calls, else `slow`."""
    rates = fastest(clock)
    own = rates[rates["model"] == model].sort_values("calls", ascending=False)
    slowest = rates.loc[rates["calls"].idxmax(), "images_per_second"]
    parts = [f"{number(rate)} with {_calls(calls)}" for calls, rate in own[["calls", "images_per_second"]].values]
    is_fast = own["images_per_second"].iloc[0] >= FAST * slowest
    return Measured(f"{listing(parts)} (images / s)", _earned({"fast": is_fast, "slow": not is_fast}))


def coverage(model: str, best: pd.DataFrame, floor: dict[str, Any]) -> Measured:
    """`good` covers nearly as much within a class as real images; a collapsed model misses classes, or half of it."""
    row, real = best.loc[model], floor["mean"]
    text = f"{whole(row['classes'])} classes, {number(row['effective_classes'])} if equally frequent"
    if pd.isna(row["coverage_within"]):
        return Measured(text, None)
    share, all_there = row["coverage_within"] / real["coverage_within"], row["classes"] >= round(real["classes"])
    words = {"good": all_there and share >= GOOD, "mode collapse": not all_there or share < COLLAPSED}
    return Measured(
        f"coverage within a class {fixed(row['coverage_within'])} (real images {fixed(real['coverage_within'])}), "
        f"recall {fixed(row['recall'])}; {text}",
        _earned(words),
    )


def likelihood(model: str, density: pd.DataFrame) -> Measured:
    """`possible` where there is a bound or an estimate of log p(x)."""
    rows = density[density["model"] == model]
    if rows.empty and model == "diffusion":
        return Measured("stage `score` has not run", None)
    if rows.empty:
        return Measured("none: a GAN has no density", _earned({"not possible": True}))
    parts = [f"{spread(bits, error)} ({bound})" for bound, bits, error in rows[["bound", "bits", "error"]].values]
    return Measured(f"{listing(parts)} bits per dimension", _earned({"possible": True}))


def stability(reports: Reports, model: str) -> Measured:
    """`high`, and `very high`, if no run of the study has failed; else `low`."""
    if STABILITY not in reports:
        return Measured("`make study STUDY=stability` measures it", None)
    runs = reports.table(STABILITY)
    own = runs[runs["model"] == model]
    failed = own["diverged_at"].notna() | (own["accuracy"] < STEADY * runs["accuracy"].max())
    text = (
        f"{whole(failed.sum())} of {whole(len(own))} runs failed; class accuracy "
        f"{percent(own['accuracy'].min())} to {percent(own['accuracy'].max())}"
    )
    steady = not failed.any()
    return Measured(text, _earned({"very high": steady, "high": steady, "low": not steady}))


def densities(reports: Reports) -> pd.DataFrame:
    """Bits per dimension of test images: `model, bound, bits, error, n`, of the VAE and, where stage `score` has
    written them in the same columns, of diffusion."""
    of_vae = reports.table("compare/density.csv")
    return pd.concat([reports.table(SCORE), of_vae]) if SCORE in reports else of_vae


def verdict_answer(rows: list[tuple[str, str, str, str, str]]) -> str:
    """How many entries of the lesson's table the measurements agree with, and which not."""
    measured = [row for row in rows if row[4] != OPEN]
    wrong = [f"{model} on {name.lower()} (“{word}”)" for name, model, word, _, verdict in measured if verdict == DISAGREES]
    agree = f"Of {len(rows)} entries of the lesson's table {len(measured)} were measured and {len(measured) - len(wrong)} agree"
    return f"{agree}; the others are {listing(wrong)}." if wrong else f"{agree}."


def quality_answer(best: pd.DataFrame, floor: dict[str, Any]) -> str:
    """FID and class accuracy of the three, beside their floor."""
    n = whole(best["n"].iloc[0])
    if best["fid"].isna().any():
        parts = [f"{NAMES[model]} {spread(*best.loc[model, ['kid', 'kid_std']])}" for model in NAMES]
        return f"KID (n = {n}, lower is better): {listing(parts)}."
    parts = [
        f"{_named(model, best.loc[model, 'calls'])} {number(best.loc[model, 'fid'])} ({percent(best.loc[model, 'accuracy'])})"
        for model in NAMES
    ]
    real = spread(floor["mean"]["fid"], floor["std"]["fid"])
    return f"FID, and the share of samples read as the class asked for, n = {n}: {listing(parts)}; real images {real}."


def speed_answer(clock: pd.DataFrame) -> str:
    """The fastest batch of every model and number of calls."""
    rates = fastest(clock).sort_values("images_per_second")
    parts = [
        f"{_named(model, calls)} {number(rate)}"
        for model, calls, rate in rates[["model", "calls", "images_per_second"]].values
    ]
    return f"Images per second at the best batch size: {listing(parts)}."


def density_answer(density: pd.DataFrame) -> str:
    """The tightest figure of every model that has one."""
    tightest = density[~density["bound"].str.startswith("KL")].sort_values("bits").drop_duplicates("model")
    parts = [
        f"{NAMES[row['model']]} {spread(row['bits'], row['error'])} ({row['bound']}, n = {whole(row['n'])})"
        for row in tightest.to_dict("records")
    ]
    return f"Bits per dimension of 8-bit test images, lower is better: {listing(parts)}; a GAN has none."


def fastest(clock: pd.DataFrame) -> pd.DataFrame:
    """Of every model and number of calls the batch size with the most images per second."""
    return clock.loc[clock.groupby(["model", "calls"], sort=False)["images_per_second"].idxmax()]


def lesson_table(rows: list[tuple[str, str, str, str, str]]) -> Table:
    """The two tables as one."""
    caption = (
        f"The lesson's table beside the measurements. Good: {percent(GOOD)} of what real images score; fast: {FAST} "
        "times the images per second of diffusion with all its calls; blurry: sharpness (gradient energy) under "
        f"{percent(GOOD)} of that of real images; collapsed: a class is missing, or half of the coverage within one."
    )
    headings = ("Property", "Model", "The lesson says", "Measured", "Verdict")
    return Table(caption, headings, (False,) * 5, tuple(tuple(map(Cell, row)) for row in rows))


def quality_table(quality: pd.DataFrame, floor: dict[str, Any]) -> Table:
    """Every measure of every model, real images last."""
    real = pd.DataFrame([floor["mean"] | {"model": "real images", "sharpness": 1.0, "kid_std": floor["std"]["kid"]}])
    shown = pd.concat([quality.assign(model=_labels(quality)), real])
    columns: list[tuple[str, str, Any]] = [
        ("model", "Model", str),
        ("fid", "FID", number),
        ("kid", "KID", number),
        ("kid_std", "± error", lambda value: number(value, 2)),
        ("accuracy", "Class accuracy", percent),
        ("precision", "Precision", fixed),
        ("recall", "Recall", fixed),
        ("density", "Density", fixed),
        ("coverage", "Coverage", fixed),
        ("coverage_within", "... in a class", fixed),
        ("classes", "Classes", whole),
        ("effective_classes", "Effective classes", fixed),
        ("sharpness", "Sharpness", fixed),
    ]
    caption = (
        f"n = {whole(quality['n'].iloc[0])} samples of every model, the same classes; real images: as many of the "
        "training split, mean of five draws. Classes: how many the judge reads among samples whose class is drawn at "
        "random (diffusion: whose class the model chooses, w = 0); effective: the exponential of their entropy. "
        "Sharpness: gradient energy over that of real images."
    )
    return table(shown, columns, caption)


def clock_table(clock: pd.DataFrame) -> Table:
    """Images per second at every batch size tried."""
    columns = [
        ("model", "Model", str),
        ("batch", "Batch size", whole),
        ("images_per_second", "Images/s", number),
        ("slowest", "Slowest", number),
        ("fastest", "Fastest", number),
        ("repeats", "Runs", whole),
    ]
    caption = "The clock of sampling, median of the runs. Batch sizes were tried with the fewest calls of a model."
    return table(clock.assign(model=_labels(clock)), columns, caption)


def density_table(density: pd.DataFrame) -> Table:
    """Bounds and estimates of log p(x)."""
    columns = [
        ("model", "Model", lambda model: NAMES[model]),
        ("bound", "Bound or estimate", str),
        ("bits", "Bits per dimension", lambda value: fixed(value, 3)),
        ("error", "± error", lambda value: number(value, 2)),
        ("n", "n", whole),
    ]
    caption = (
        "Density of 8-bit test images given their class; error: one standard error over images. The VAE's pixels have "
        "a mixture of discretised logistics each, so its bound is of probabilities, as those of other models of 8-bit "
        "images are. The GAN has no density."
    )
    return table(density, columns, caption)


def samples_picture(reports: Reports, quality: pd.DataFrame) -> Picture:
    """The models below each other."""
    sheet = reports.folder / "compare/samples.png"
    plots.labelled_sheet(reports.figure("compare.png"), sheet, ["real images", *_labels(quality)])
    caption = "The first two samples of every class by every model, not picked, below two test images of the class."
    return reports.drawn("compare.png", caption, "Samples of diffusion, GAN and VAE for the same classes")


def reconstructions(reports: Reports) -> Picture:
    """What the VAE's latent keeps."""
    sheet = reports.folder / "compare/reconstructions.png"
    plots.labelled_sheet(reports.figure("reconstructions.png"), sheet, ["test image", "through the VAE"])
    caption = "Test images, and what the VAE makes of them: encoded to the mean of their latent, decoded to mean pixels."
    return reports.drawn("reconstructions.png", caption, "Test images above their reconstructions by the VAE")


def tradeoff(reports: Reports, quality: pd.DataFrame, clock: pd.DataFrame, floor: dict[str, Any]) -> Picture:
    """Seconds for n images against FID, or KID where there is none."""
    measure = "kid" if quality["fid"].isna().any() else "fid"
    rows = quality.merge(fastest(clock), on=["model", "calls"])
    number_of = int(rows["n"].iloc[0])
    frame = pd.DataFrame(
        {
            "sampler": rows["model"].map(NAMES),
            "calls": rows["calls"],
            "seconds": number_of / rows["images_per_second"],
            "value": rows[measure],
            "error": rows["kid_std"] if measure == "kid" else 0.0,
        }
    )
    panel = (f"{measure.upper()} (lower is better)", frame, (floor["mean"][measure], floor["std"][measure]))
    plots.speed_quality(reports.figure("compare_speed.png"), [panel], number_of)
    caption = (
        f"Seconds for {whole(number_of)} images at the best batch size (logarithmic) against quality; numbers are "
        "network calls per image. Left and low is good."
    )
    return reports.drawn("compare_speed.png", caption, "Quality of diffusion, GAN and VAE against their time")


def budgets(reports: Reports, params: dict[str, Any]) -> str:
    """What each model had to learn with."""
    weights = reports.record("compare/metrics.json")["parameters"]
    parts = []
    for model, stage in TRAINED_IN.items():
        timing, training = reports.record(f"{stage}/timing.json"), params[stage]
        trained = f", {whole(timing['parameters'])} with what is only trained" if timing["parameters"] > weights[model] else ""
        parts.append(
            f"{NAMES[model]}: {whole(training['steps'] * training['batch_size'])} images, "
            f"{duration(timing['seconds'])}, {whole(weights[model])} weights to sample with{trained}"
        )
    return f"What they learned from. {'; '.join(parts)}. All three know the class and are made of the same blocks."


def stability_blocks(reports: Reports) -> list[Block]:
    """The study, where it has been made."""
    if STABILITY not in reports:
        return []
    runs = reports.table(STABILITY)
    groups = runs.groupby(["model", "learning_rate"], sort=False)
    shown = groups.agg(
        runs=("seed", "size"),
        diverged=("diverged_at", "count"),
        accuracy=("accuracy", "mean"),
        accuracy_std=("accuracy", "std"),
        fid=("fid", "mean"),
        fid_std=("fid", "std"),
        seconds=("seconds", "mean"),
    ).reset_index()
    columns: list[tuple[str, str, Any]] = [
        ("model", "Model", lambda model: NAMES[model]),
        ("learning_rate", "Learning rate", number),
        ("runs", "Seeds", whole),
        ("diverged", "Diverged", whole),
        ("accuracy", "Class accuracy", percent),
        ("accuracy_std", "± seeds", percent),
        ("fid", "FID", number),
        ("fid_std", "± seeds", lambda value: number(value, 2)),
        ("seconds", "Seconds", number),
    ]
    caption = (
        "Stability (`make study STUDY=stability`): trainings with other seeds and with a larger learning rate; mean "
        f"and standard deviation of the seeds, n = {whole(runs['n'].iloc[0])} samples each. A run has failed if it "
        f"diverges or its class accuracy is under {percent(STEADY)} of the best run's."
    )
    return [table(shown, columns, caption)]


def _earned(words: dict[str, bool]) -> frozenset[str]:
    return frozenset(word for word, earned in words.items() if earned)


def _labels(rows: pd.DataFrame) -> list[str]:
    return [_named(model, calls) for model, calls in zip(rows["model"], rows["calls"], strict=True)]


def _named(model: str, calls: float) -> str:
    return f"{NAMES[model]}, {_calls(calls)}" if model == "diffusion" else NAMES[model]


def _calls(calls: float) -> str:
    return f"{whole(calls)} call{'s' if calls > 1 else ''}"
