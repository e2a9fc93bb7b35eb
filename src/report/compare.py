"""Diffusion, GAN and VAE side by side: samples, quality, clock, density, stability."""

from typing import Any

import pandas as pd

from report.claims import DISAGREES, OPEN
from report.content import Block, Picture, Section, Table, Text, table
from report.lesson_table import NAMES, STABILITY, STEADY, Entry, densities, fastest, judged, labels, lesson_table, named
from report.plots.samplers import speed_quality
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import duration, fixed, listing, number, percent, spread, whole

TRAINED_IN = {"diffusion": "train", "gan": "gan", "vae": "vae"}  # stage, and section of params


def compare_section(reports: Reports, params: dict[str, Any]) -> Section:
    """The lesson's part 10."""
    quality, clock = reports.table("compare/quality.csv"), reports.table("compare/timing.csv")
    floor, density = reports.record("compare/metrics.json")["floor"], densities(reports)
    best = first_rows(quality)
    entries = list(judged(reports, best, clock, floor, density))
    answer = (
        verdict_answer(entries),
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
            lesson_table(entries, best["n"].iloc[0]),
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


def verdict_answer(entries: list[Entry]) -> str:
    """How many entries of the lesson's table the measurements agree with, and which not."""
    measured = [entry for entry in entries if entry.verdict != OPEN]
    wrong = [f"{e.model} on {e.name.lower()} (“{e.lesson}”)" for e in measured if e.verdict == DISAGREES]
    agree = (
        f"Of {len(entries)} entries of the lesson's table {len(measured)} were measured and "
        f"{len(measured) - len(wrong)} agree"
    )
    return f"{agree}; the others are {listing(wrong)}." if wrong else f"{agree}."


def quality_answer(best: pd.DataFrame, floor: dict[str, Any]) -> str:
    """FID and class accuracy of the three, beside their floor."""
    n = whole(best["n"].iloc[0])
    if best["fid"].isna().any():
        parts = [f"{NAMES[model]} {spread(*best.loc[model, ['kid', 'kid_std']])}" for model in NAMES]
        return f"KID (n = {n}, lower is better): {listing(parts)}."
    parts = [
        f"{named(row['model'], row['calls'])} {number(row['fid'])} ({percent(row['accuracy'])})"
        for row in best.loc[list(NAMES)].to_dict("records")
    ]
    real = spread(floor["mean"]["fid"], floor["std"]["fid"])
    return f"FID, and the share of samples read as the class asked for, n = {n}: {listing(parts)}; real images {real}."


def speed_answer(clock: pd.DataFrame) -> str:
    """The fastest batch of every model and number of calls."""
    rates = fastest(clock).sort_values("images_per_second")
    parts = [
        f"{named(model, calls)} {number(rate)}"
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


def quality_table(quality: pd.DataFrame, floor: dict[str, Any]) -> Table:
    """Every measure of every model, real images last."""
    real = pd.DataFrame([floor["mean"] | {"model": "real images", "sharpness": 1.0, "kid_std": floor["std"]["kid"]}])
    shown = pd.concat([quality.assign(model=labels(quality)), real])
    columns = [
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
    return table(clock.assign(model=labels(clock)), columns, caption)


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
    labelled_sheet(reports.figure("compare.png"), sheet, ["real images", *labels(quality)])
    caption = "The first two samples of every class by every model, not picked, below two test images of the class."
    return reports.drawn("compare.png", caption, "Samples of diffusion, GAN and VAE for the same classes")


def reconstructions(reports: Reports) -> Picture:
    """What the VAE's latent keeps."""
    sheet = reports.folder / "compare/reconstructions.png"
    labelled_sheet(reports.figure("vae_reconstructions.png"), sheet, ["test image", "through the VAE"])
    caption = (
        "Test images, and what the VAE makes of them: encoded to the mean of their latent, decoded to mean pixels."
    )
    return reports.drawn("vae_reconstructions.png", caption, "Test images above their reconstructions by the VAE")


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
    speed_quality(reports.figure("compare_speed.png"), [panel], number_of)
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
        trained = (
            f", {whole(timing['parameters'])} with what is only trained"
            if timing["parameters"] > weights[model]
            else ""
        )
        parts.append(
            f"{NAMES[model]}: {whole(training['steps'] * training['batch_size'])} images, "
            f"{duration(timing['seconds'])}, {whole(weights[model])} weights to sample with{trained}"
        )
    kl_weight = number(params["vae"]["kl_weight"], 2)
    return (
        f"What they learned from. {'; '.join(parts)}. All three know the class and are made of the same blocks. The "
        "GAN has a gradient penalty on real images (R1), and a moving average of its generator samples. The VAE's "
        f"gradient counts the KL {kl_weight} times, which makes its samples better and its bound worse; the bound "
        "shown counts it once."
    )


def stability_blocks(reports: Reports) -> list[Block]:
    """The study, where it has been made."""
    if STABILITY not in reports:
        return []
    runs = reports.table(STABILITY)
    groups = runs.groupby(["model", "steps", "learning_rate"], sort=False)
    shown = groups.agg(
        runs=("seed", "size"),
        diverged=("diverged_at", "count"),
        accuracy=("accuracy", "mean"),
        accuracy_std=("accuracy", "std"),
        fid=("fid", "mean"),
        fid_std=("fid", "std"),
    ).reset_index()
    columns = [
        ("model", "Model", lambda model: NAMES[model]),
        ("learning_rate", "Learning rate", number),
        ("steps", "Steps", whole),
        ("runs", "Seeds", whole),
        ("diverged", "Diverged", whole),
        ("accuracy", "Class accuracy", percent),
        ("accuracy_std", "± seeds", percent),
        ("fid", "FID", number),
        ("fid_std", "± seeds", lambda value: number(value, 2)),
    ]
    caption = (
        "Stability (`make study STUDY=stability`): trainings with other seeds and with a larger learning rate; mean "
        f"and standard deviation of the seeds, n = {whole(runs['n'].iloc[0])} samples each. A run has failed if it "
        f"diverges or its class accuracy is under {percent(STEADY)} of the best run's."
    )
    return [table(shown, columns, caption)]
