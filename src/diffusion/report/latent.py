"""Part 7 of the lesson: diffusion in latents on text, its cost, its quality, and whether prompts hold."""

from typing import Any

import numpy as np
import pandas as pd

from diffusion import plots
from diffusion.report.content import Block, Folded, Gallery, Section, Text, table
from diffusion.report.overview import confusion_matrix
from diffusion.report.reading import Reports
from diffusion.report.wording import NB, duration, fixed, listing, number, percent, share_error, whole

PROPERTIES = {  # and what their grades are called
    "thickness": ["thin", "medium", "thick"],
    "slant": ["left", "upright", "right"],
    "width": ["narrow", "regular", "wide"],
}
LARGER = "larger"
GRADES = ["0", "1", "2"]
CLASS_GOAL, PROPERTY_GOAL, CHANCE = 0.85, 0.6, 1 / 3
GROUPS = {"unseen": "never seen in training", "seen": "seen in training", "reconstructed": "real images, reconstructed"}


def latent_section(reports: Reports, params: dict[str, Any]) -> Section:
    """Cost and quality beside pixel space, then text."""
    prompts = reports.table("sample_latent/prompts.csv")
    blocks = (
        *_reconstructions(reports),
        beside_pixels(reports, params),
        *larger_blocks(reports),
        *_captions(reports),
        prompts_table(prompts),
        *_sheets(reports, prompts),
        _confusions(reports, prompts),
        _attention(reports),
        Text(
            'To draw something of your own: `python -m diffusion.sample --prompt "a thin three" --guidance 3 '
            "--steps 20 --out picture.png`. A word that no caption has is refused, with those that are near it."
        ),
    )
    answer = (cost_answer(reports), quality_answer(reports, params), prompts_answer(prompts))
    return Section("latent", "Latent diffusion with text", answer, blocks, "Part 7")


def costs(reports: Reports) -> dict[str, float]:
    """How many times cheaper latents are than pixels: an image of training, a sample."""
    training = [reports.record(f"{stage}/timing.json")["images_per_second"] for stage in ("train_latent", "train")]
    sampling = reports.record("sample_latent/timing.json")
    pixels = _pixel_clock(reports, sampling["calls"])
    here = sampling["seconds"] / sampling["images"]
    return {"training": training[0] / training[1], "sample": pixels / here}


def cost_answer(reports: Reports) -> str:
    """What latents save, and what the autoencoder costs before they can save anything."""
    shape = reports.record("autoencoder/metrics.json")
    pixels, latents = (int(np.prod(shape[name])) for name in ("image_shape", "latent_shape"))
    sides = " × ".join(map(str, shape["latent_shape"]))
    ratio = costs(reports)
    seconds = reports.record("autoencoder/timing.json")["seconds"]
    training = f"an image of training costs {number(1 / ratio['training'])} times what it costs in pixel space"
    sample = f"a sample {number(1 / ratio['sample'])} times, its decoding included"
    return (
        f"Latents of {sides} numbers stand for {whole(pixels)} pixel values, {number(pixels / latents)} times as many: "
        f"{training}, {sample}. The autoencoder has to be trained before, once for all models in its latents: "
        f"{duration(seconds)}."
    )


def quality_answer(reports: Reports, params: dict[str, Any]) -> str:
    """FID and class accuracy of both spaces, the images that each saw, and what decoding alone loses."""
    latent, pixel = reports.record("sample_latent/metrics.json"), reports.record("evaluate/metrics.json")
    seen = [params[section]["steps"] * params[section]["batch_size"] for section in ("train_latent", "train")]
    clock = [reports.record(f"{stage}/timing.json")["seconds"] for stage in ("train_latent", "train")]
    judge = latent["judge"]
    figures = (
        f"class accuracy {percent(latent['accuracy'])} against {percent(pixel['accuracy'])} (n = {whole(latent['n'])} "
        f"and {whole(pixel['n'])})"
    )
    if latent["fid"] is not None and pixel["fid"] is not None:
        figures = f"FID {number(latent['fid'])} against {number(pixel['fid'])} in pixel space, {figures}"
    lost = (
        f"Of that the autoencoder alone: the judge reads {percent(judge['reconstructed'])} of {whole(judge['n'])} "
        f"reconstructed test images right, {percent(judge['real'])} of the real ones"
    )
    fid = latent["reconstructed"]["fid"]
    lost += "" if fid is None else f", and reconstructed training images have FID {number(fid)}"
    return (
        f"After {whole(seen[0])} images seen in {duration(clock[0])} ({whole(seen[1])} in {duration(clock[1])} in "
        f"pixel space): {figures}. {lost}."
    )


def prompts_answer(prompts: pd.DataFrame) -> str:
    """Whether prompts hold on unseen combinations, at the scale where the weakest property holds best."""
    row = best(prompts)
    shares = {name: row[name] for name in PROPERTIES}
    words = [f"{name} {percent(share)}" for name, share in shares.items()]
    missed = [name for name, share in shares.items() if share < PROPERTY_GOAL]
    missed += ["class"] if row["accuracy"] < CLASS_GOAL else []
    goal = f"class at least {CLASS_GOAL:.0%}, each property at least {PROPERTY_GOAL:.0%}"
    verdict = f"The goal ({goal}) is met" if not missed else f"The goal ({goal}) is missed by {listing(missed)}"
    return (
        f"Asked for combinations of class and property that no caption of the training had, at w = {row['scale']:g}: "
        f"class {percent(row['accuracy'])}, {listing(words)} right (chance {percent(CHANCE)} a property, n = "
        f"{whole(row['n'])}); the very property that was held out is right in {percent(row['held_out'])}. {verdict}."
    )


def best(prompts: pd.DataFrame) -> pd.Series:
    """The row of unseen combinations whose weakest property is the strongest."""
    unseen = prompts[prompts["group"] == "unseen"]
    return unseen.loc[unseen[list(PROPERTIES)].min(axis=1).idxmax()]


def beside_pixels(reports: Reports, params: dict[str, Any]) -> Block:
    """Both spaces in a table: cost and quality."""
    latent, pixel = reports.record("sample_latent/metrics.json"), reports.record("evaluate/metrics.json")
    clock = reports.record("sample_latent/timing.json")
    per_image = {"latent": clock["seconds"] / clock["images"], "pixel": _pixel_clock(reports, clock["calls"])}
    rows = []
    for name, section, quality in (("latent", "train_latent", latent), ("pixel", "train", pixel)):
        timing, train = reports.record(f"{section}/timing.json"), params[section]
        rows.append(
            {
                "space": name,
                "parameters": timing["parameters"],
                "seen": train["steps"] * train["batch_size"],
                "seconds": timing["seconds"],
                "rate": timing["images_per_second"],
                "sample": 1000 * per_image[name],
                "n": quality["n"],
                **{key: quality[key] for key in ("fid", "accuracy", "precision", "coverage")},
            }
        )
    columns = [
        ("space", "Space", str),
        ("parameters", "Parameters", whole),
        ("seen", "Images seen", whole),
        ("seconds", "Training, s", whole),
        ("rate", "Images/s", number),
        ("sample", "Sample, ms", number),
        ("n", "n", whole),
        ("fid", "FID", number),
        ("accuracy", "Class accuracy", percent),
        ("precision", "Precision", fixed),
        ("coverage", "Coverage", fixed),
    ]
    card = reports.record("captions/card.json")
    frame = pd.DataFrame(rows).astype({"fid": float, "precision": float, "coverage": float})
    columns = [column for column in columns if frame[column[0]].notna().any()]
    caption = (
        f"Samples of the class alone (in latents by captions like “a three”), DDIM with {whole(clock['calls'])} calls, "
        f"w = 1; a sample's clock from batches of {whole(clock['images'])}, decoding included. Latents learn from "
        f"{whole(card['n_captioned'])} images, pixels from {whole(card['n_train'])}: held-out combinations have no "
        "captions."
    )
    return table(frame, columns, caption)


def larger_blocks(reports: Reports) -> list[Block]:
    """The committed results of `make larger`; nothing where there are none (about.json is written last)."""
    if f"{LARGER}/about.json" not in reports:
        return []
    rows = reports.table(f"{LARGER}/larger.csv")
    columns = [
        ("size", "Side", whole),
        ("space", "Space", str),
        ("seen", "Images seen", whole),
        ("seconds", "Training, s", whole),
        ("autoencoder_seconds", "Autoencoder, s", whole),
        ("images_per_second", "Images/s", number),
        ("sample_ms", "Sample, ms", number),
        ("fid", "FID", number),
        ("accuracy", "Class accuracy", percent),
        ("precision", "Precision", fixed),
        ("coverage", "Coverage", fixed),
    ]
    small, large = (rates(rows, size) for size in (rows["size"].min(), rows["size"].max()))
    text = Text(
        f"At {whole(rows['size'].min())} pixels a side latents train on {number(small)} times as many images per "
        f"second as pixels do, at {whole(rows['size'].max())} on {number(large)} times as many (`make larger`, models "
        "of the class alone)."
    )
    caption = (
        f"Latents, pixels for as many images seen, and pixels for as many seconds as latents and autoencoder took; "
        f"n = {whole(rows['n'].iloc[0])}, samples judged at {whole(rows['size'].min())} pixels a side, one seed."
    )
    return [text, table(rows, columns, caption)]


def rates(rows: pd.DataFrame, size: int) -> float:
    """How many times as many images per second latents train on, at this size."""
    by_space = rows[rows["size"] == size].groupby("space")["images_per_second"].max()
    return by_space["latent"] / by_space["pixel"]


def prompts_table(prompts: pd.DataFrame) -> Block:
    """Every scale, seen and unseen."""
    shown = prompts.assign(group=prompts["group"].map(GROUPS))
    columns = [
        ("group", "Combination", str),
        ("scale", "w", lambda value: "" if np.isnan(value) else f"{value:g}"),
        ("n", "n", whole),
        ("accuracy", "Class", percent),
        *((name, name.capitalize(), percent) for name in PROPERTIES),
        ("held_out", "Held-out property", percent),
    ]
    error = share_error(0.5, float(prompts["n"].min()))
    caption = (
        "Share of images that hold what the prompt asked for, by the judge and by the measures that the captions come "
        f"from; prompts are full captions of test images. Standard error at most {percent(error)}. The last row is "
        "what real images keep through the autoencoder."
    )
    return table(shown, columns, caption)


def _pixel_clock(reports: Reports, calls: int) -> float:
    """Seconds per image of DDIM in pixel space with about as many calls; scaled where there is no such row."""
    rows = reports.table("benchmark/timing.csv")
    rows = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 0)]
    row = rows.loc[(rows["calls"] - calls).abs().idxmin()]
    return row["seconds"] / row["images"] * calls / row["calls"]


def _reconstructions(reports: Reports) -> list[Block]:
    figures = reports.record("autoencoder/metrics.json")
    sheet = "autoencoder/reconstructions.png"
    plots.labelled_sheet(reports.figure("reconstructions.png"), reports.folder / sheet, ["image", "reconstructed"])
    picture = reports.drawn(
        "reconstructions.png",
        f"Test images above what the autoencoder makes of their latents; root mean square error "
        f"{number(figures['rms_error'])} on n = {whole(figures['n_test'])} (pixels run from −1 to 1).",
        "Test images and their reconstructions",
    )
    latents = figures["test_latents"]
    text = Text(
        "Latents are standardised with the mean and standard deviation of the training images, kept in the file "
        f"beside the weights (on test images: mean {number(latents['mean'], 2)}, standard deviation "
        f"{number(latents['std'])}), and never clipped."
    )
    return [picture, text]


def _captions(reports: Reports) -> list[Block]:
    card = reports.record("captions/card.json")
    examples = "captions/examples.png"
    plots.labelled_sheet(reports.figure("strokes.png"), reports.folder / examples, list(PROPERTIES))
    picture = reports.drawn(
        "strokes.png",
        "Training images from the lowest (left) to the highest value of each measure.",
        "Images sorted by thickness, slant and width",
    )
    held_out = listing([f"{row['value']} {row['class']}" for row in card["held_out"]])
    text = Text(
        f"A caption tells the class and three measures of the stroke, each by the tercile of its class: thickness "
        f"(twice the ink's area over its outline), slant (pixels to the right per pixel upwards) and width once set "
        f"upright. {whole(card['captions_per_image'])} captions an image, in several wordings with words left out, "
        f"from {whole(len(card['vocabulary']))} words. Held out of the denoiser's training (not of the autoencoder's): "
        f"{held_out}, {whole(card['n_train'] - card['n_captioned'])} of {whole(card['n_train'])} images."
    )
    captions = reports.table("captions/captions.csv")
    terciles = reports.table("captions/terciles.csv")
    folded = Folded(
        "Captions and terciles",
        (
            table(captions, [("class", "Class", str), ("caption", "Caption", str)], "A caption of the first images."),
            table(
                terciles,
                [
                    ("class", "Class", str),
                    ("property", "Measure", str),
                    ("lower", "Lower", fixed),
                    ("upper", "Upper", fixed),
                ],
                "The bounds between the thirds of every class, from the training split.",
            ),
        ),
    )
    return [text, picture, folded]


def _sheets(reports: Reports, prompts: pd.DataFrame) -> list[Block]:
    names, scale = reports.table("sample_latent/sheet.csv")["prompt"].tolist(), best(prompts)["scale"]
    sheet = reports.folder / f"sample_latent/sheet_{scale:g}.png"
    plots.labelled_sheet(reports.figure("unseen.png"), sheet, names)
    caption = (
        f"Combinations that the training never had, a row each, w = {scale:g}, not picked; the prompts name the other "
        "properties too."
    )
    return [
        reports.drawn("unseen.png", caption, "Samples of unseen combinations"),
        Folded(
            "Samples of the class alone",
            (Gallery((reports.picture("sample_latent/samples.png", "“a zero” to “a nine”.", "Samples by class"),)),),
        ),
    ]


def _confusions(reports: Reports, prompts: pd.DataFrame) -> Block:
    counts = reports.table("sample_latent/confusion.csv").rename(columns={"asked": "actual", "measured": "predicted"})
    counts = counts[counts["group"] == "unseen"].astype({"actual": str, "predicted": str})
    matrices = {
        f"{name}, w{NB}={NB}{scale:g}": confusion_matrix(
            counts[(counts["property"] == name) & (counts["scale"] == scale)], GRADES
        )
        for scale in prompts["scale"].dropna().unique()
        for name in PROPERTIES
    }
    plots.confusions(reports.figure("prompt_confusion.png"), matrices, ["low", "mid", "high"])
    words = "; ".join(f"{name}: {', '.join(grades)}" for name, grades in PROPERTIES.items())
    return reports.drawn(
        "prompt_confusion.png",
        f"Prompts of unseen combinations: the grade asked for is the row, the grade measured the column ({words}).",
        "Confusion of every property by guidance scale",
    )


def _attention(reports: Reports) -> Block:
    words = reports.table("sample_latent/attention.csv")
    rows, columns = words["row"].max() + 1, words["column"].max() + 1
    notes = [[""] * columns for _ in range(rows)]
    for row, column, word in words[["row", "column", "word"]].itertuples(index=False):
        notes[row][column] = word
    tiles = reports.tiles("sample_latent/attention.png", rows, columns)
    plots.picture_grid(reports.figure("attention.png"), tiles, ["image", *[""] * (columns - 1)], notes=notes)
    return reports.drawn(
        "attention.png",
        "Which word looked where: how much each place attends to each word, the mean over heads, blocks and steps; a "
        "row is scaled by its brightest place. What is left of the attention goes to the start of the caption.",
        "Cross-attention maps, a column per word",
    )
