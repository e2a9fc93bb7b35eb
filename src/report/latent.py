"""Part 7 of the lesson: diffusion in latents on text, its cost, its quality, and whether prompts hold."""

from typing import Any

import numpy as np
import pandas as pd

from report.content import Block, Section, Text, table, with_values
from report.plots.sheet import labelled_sheet
from report.prompts import prompt_blocks, prompts_answer
from report.reading import Reports
from report.wording import duration, fixed, listing, number, percent, whole

LARGER = "larger"


def latent_section(reports: Reports, params: dict[str, Any]) -> Section:
    """Cost and quality beside pixel space, then text."""
    answer = (
        cost_answer(reports),
        quality_answer(reports, params),
        prompts_answer(reports.table("sample_latent/prompts.csv")),
    )
    blocks = (
        *_reconstructions(reports),
        beside_pixels(reports, params),
        *larger_blocks(reports),
        *prompt_blocks(reports),
    )
    return Section("latent", "Latent diffusion with text", answer, blocks, "Lesson, part 7")


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
        f"Encoding and decoding alone: the judge reads {percent(judge['reconstructed'])} of {whole(judge['n'])} "
        f"reconstructed test images right, {percent(judge['real'])} of the real ones"
    )
    fid = latent["reconstructed"]["fid"]
    lost += "" if fid is None else f", and reconstructed training images have FID {number(fid)}"
    return (
        f"After {whole(seen[0])} images seen in {duration(clock[0])} ({whole(seen[1])} in {duration(clock[1])} in "
        f"pixel space): {figures}. {lost}."
    )


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
    caption = (
        f"Samples of the class alone (in latents by captions like “a three”), DDIM with {whole(clock['calls'])} calls, "
        f"w = 1; a sample's clock from batches of {whole(clock['images'])}, decoding included. Latents learn from "
        f"{whole(card['n_captioned'])} images, pixels from {whole(card['n_train'])}: held-out combinations have no "
        "captions."
    )
    return table(frame, with_values(frame, columns), caption)


def larger_blocks(reports: Reports) -> list[Block]:
    """The committed results of `make study STUDY=larger`; nothing where there are none (about.json is written last)."""
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
    sizes = rows["size"].min(), rows["size"].max()
    small, large = (rates(rows, size) for size in sizes)
    quality = [
        f"at {whole(size)} latents have FID {number(latents['fid'])}, pixels {number(pixels['fid'])}"
        for size, (latents, pixels) in zip(sizes, (same_seconds(rows, size) for size in sizes), strict=True)
    ]
    text = Text(
        f"At {whole(sizes[0])} pixels a side latents train on {number(small)} times as many images per second as "
        f"pixels do, at {whole(sizes[1])} on {number(large)} times as many (`make study STUDY=larger`, models of the "
        f"class alone). After as many seconds, those for the autoencoder included, {listing(quality)}."
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


def same_seconds(rows: pd.DataFrame, size: int) -> tuple[pd.Series, pd.Series]:
    """The rows of latents, and of pixels that were trained for as many seconds, at this size."""
    of_size = rows[rows["size"] == size]
    return tuple(of_size[of_size["space"] == space].iloc[-1] for space in ("latent", "pixel"))


def _pixel_clock(reports: Reports, calls: int) -> float:
    """Seconds per image of DDIM in pixel space with about as many calls; scaled where there is no such row."""
    rows = reports.table("benchmark/timing.csv")
    rows = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 0)]
    row = rows.loc[(rows["calls"] - calls).abs().idxmin()]
    return row["seconds"] / row["images"] * calls / row["calls"]


def _reconstructions(reports: Reports) -> list[Block]:
    figures = reports.record("autoencoder/metrics.json")
    sheet = "autoencoder/reconstructions.png"
    labelled_sheet(
        reports.figure("autoencoder_reconstructions.png"), reports.folder / sheet, ["image", "reconstructed"]
    )
    picture = reports.drawn(
        "autoencoder_reconstructions.png",
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
