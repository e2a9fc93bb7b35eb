"""Diffusion in latents beside diffusion in pixels: cost and quality."""

from typing import Any

import numpy as np
import pandas as pd

from diffusion.choices import NETS
from report.content import Column, Picture, Section, Table, Text, table, with_values
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import duration, fixed, number, percent, ratio, whole

MEASURES = ("fid", "accuracy", "recall", "precision", "coverage")


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The autoencoder, then both spaces side by side."""
    answer = (cost_answer(reports), quality_answer(reports, params))
    figures = reports.record("autoencoder/metrics.json")
    blocks = (reconstructions(reports, figures), Text(latents_text(figures)), spaces_table(reports, params))
    return Section("comparison", "Latents beside pixels", answer, blocks)


def costs(reports: Reports) -> dict[str, float]:
    """How many times cheaper latents are than pixels: an image of training, a sample."""
    training = [reports.record(f"{stage}/timing.json")["images_per_second"] for stage in ("train_latent", "train")]
    sampling = reports.record("sample_latent/timing.json")
    pixels = pixel_clock(reports.table("benchmark/timing.csv"), sampling["calls"])
    here = sampling["seconds"] / sampling["images"]
    return {"training": ratio(*training), "sample": ratio(pixels, here)}


def pixel_clock(rows: pd.DataFrame, calls: int) -> float:
    """Seconds per image of DDIM in pixel space with about as many evaluations; scaled where there is no such row."""
    rows = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 0)]
    row = rows.iloc[(rows["calls"] - calls).abs().argmin()]
    return row["seconds"] / row["images"] * calls / row["calls"]


def cost_answer(reports: Reports) -> str:
    """What latents save, and what the autoencoder costs before they can save anything."""
    shape = reports.record("autoencoder/metrics.json")
    pixels, latents = (int(np.prod(shape[name])) for name in ("image_shape", "latent_shape"))
    sides = " × ".join(map(str, shape["latent_shape"]))
    times = costs(reports)
    seconds = reports.record("autoencoder/timing.json")["seconds"]
    return (
        f"Latents of {sides} numbers stand for {whole(pixels)} pixel values, {number(pixels / latents)} times as many: "
        f"an image of training costs {number(1 / times['training'])} times what it costs in pixel space, a sample "
        f"{number(1 / times['sample'])} times, decoding included. The autoencoder has to be trained first, once for "
        f"all models in its latents: {duration(seconds)}."
    )


def quality_answer(reports: Reports, params: dict[str, Any]) -> str:
    """FID and class accuracy of both spaces, the images that each saw, and what decoding alone loses."""
    latent, pixel = reports.record("sample_latent/metrics.json"), reports.record("evaluate/metrics.json")
    seen = [params[key]["steps"] * params[key]["batch_size"] for key in ("train_latent", "train")]
    clock = [reports.record(f"{stage}/timing.json")["seconds"] for stage in ("train_latent", "train")]
    judge = latent["judge"]
    figures = (
        f"class accuracy {percent(latent['accuracy'])} against {percent(pixel['accuracy'])}, recall "
        f"{fixed(latent['recall'])} against {fixed(pixel['recall'])} (n = {whole(latent['n'])} and {whole(pixel['n'])})"
    )
    if latent["fid"] is not None and pixel["fid"] is not None:
        figures = f"FID {number(latent['fid'])} against {number(pixel['fid'])} in pixel space, {figures}"
    fid = latent["reconstructed"]["fid"]
    fid_lost = "" if fid is None else f", and reconstructed training images have FID {number(fid)}"
    return (
        f"After {whole(seen[0])} images seen in {duration(clock[0])} ({whole(seen[1])} in {duration(clock[1])} in "
        f"pixel space): {figures}. Encoding and decoding alone: the judge classifies {percent(judge['reconstructed'])} "
        f"of {whole(judge['n'])} reconstructed test images correctly, {percent(judge['real'])} of the real ones"
        f"{fid_lost}."
    )


def spaces_table(reports: Reports, params: dict[str, Any]) -> Table:
    """Cost and quality of both spaces."""
    latent, pixel = reports.record("sample_latent/metrics.json"), reports.record("evaluate/metrics.json")
    clock = reports.record("sample_latent/timing.json")
    pixel_seconds = pixel_clock(reports.table("benchmark/timing.csv"), clock["calls"])
    rows = []
    for name, kind, key, quality, sample in (
        ("latent", "unet", "train_latent", latent, clock["seconds"] / clock["images"]),
        ("pixel", params["model"]["kind"], "train", pixel, pixel_seconds),
    ):
        timing = reports.record(f"{key}/timing.json")
        rows.append(
            {
                "space": name,
                "network": NETS[kind],
                "parameters": timing["parameters"],
                "seen": params[key]["steps"] * params[key]["batch_size"],
                "seconds": timing["seconds"],
                "rate": timing["images_per_second"],
                "sample": 1000 * sample,
                "n": quality["n"],
                **{measure: quality[measure] for measure in MEASURES},
            }
        )
    columns: list[Column] = [
        ("space", "Space", str),
        ("network", "Network", str),
        ("parameters", "Parameters", whole),
        ("seen", "Images seen", whole),
        ("seconds", "Training, s", whole),
        ("rate", "Images/s", number),
        ("sample", "Sample, ms", number),
        ("n", "n", whole),
        ("fid", "FID", number),
        ("accuracy", "Class accuracy", percent),
        ("recall", "Recall", fixed),
        ("precision", "Precision", fixed),
        ("coverage", "Coverage", fixed),
    ]
    frame = pd.DataFrame(rows).astype(dict.fromkeys(MEASURES, float))
    card = reports.record("captions/card.json")
    caption = (
        "Class-conditional samples (in latents by captions that name the class alone), DDIM with "
        f"{whole(clock['calls'])} network evaluations, w = 1; a sample is timed in batches of "
        f"{whole(clock['images'])}, decoding included. Latents learn from {whole(card['n_captioned'])} images, pixels "
        f"from {whole(card['n_train'])}: held-out combinations have no captions."
    )
    return table(frame, with_values(frame, columns), caption)


def reconstructions(reports: Reports, figures: dict[str, Any]) -> Picture:
    """What the autoencoder keeps of an image."""
    sheet = reports.path("autoencoder/reconstructions.png")
    labelled_sheet(reports.figure("reconstructions.png"), sheet, ["image", "reconstructed"])
    caption = (
        f"Test images above what the autoencoder makes of their latents; root mean square error "
        f"{number(figures['rms_error'])} on n = {whole(figures['n_test'])} (pixels run from −1 to 1)."
    )
    return reports.drawn("reconstructions.png", caption, "Test images and their reconstructions")


def latents_text(figures: dict[str, Any]) -> str:
    """How latents are scaled."""
    latents = figures["test_latents"]
    return (
        "Latents are standardised with the mean and standard deviation of the training images, kept in the file beside "
        f"the weights (on test images: mean {number(latents['mean'], 2)}, standard deviation "
        f"{number(latents['std'])}), and never clipped."
    )
