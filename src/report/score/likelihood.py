"""Bits per dimension: by which bounds, of which images, and at which noise levels they are paid."""

from typing import Any

import pandas as pd

from report.content import Column, Folded, Picture, Section, Table, Text, table
from report.plots.score import by_noise_level
from report.reading import Reports
from report.score import likelihood_study
from report.score.methods import COSTS, METHODS, cost
from report.studies import DENSITY, in_place
from report.wording import fixed, listing, number, spread, whole

PUBLISHED = "published flows reach 0.93 to 1.06 and autoregressive models 0.62 bits on MNIST, after its 60,000 digits"


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The bits of test images and of others, and what each log-SNR bin adds."""
    bits, terms = reports.table("score/bits.csv"), reports.table("score/terms.csv")
    blocks = (
        Text(method(terms["log_snr"].nunique())),
        bits_table(bits),
        terms_picture(reports, terms),
        Folded("The diffusion term, t by t", (terms_table(terms),)),
        *in_place(DENSITY, likelihood_study.findings, reports, params),
    )
    return Section("likelihood", "Likelihood", (bits_answer(bits, reports.noun(), reports.is_mnist()),), blocks)


def bits_answer(bits: pd.DataFrame, noun: str, is_mnist: bool) -> str:
    """What test images cost by both bounds, and what other images cost; the first kind are the test images."""
    kind = bits["kind"].iloc[0]
    bound, ode, same = (bits[bits["method"] == name] for name in METHODS)
    test, conditional, bare = (
        bound[(bound["kind"] == kind) & (bound["label"] == label) & (bound["denoiser"] == denoiser)].iloc[0]
        for label, denoiser in (("none", "grey-aware"), ("class", "grey-aware"), ("none", "network"))
    )
    by_ode, by_bound = (rows[rows["kind"] == kind].iloc[0] for rows in (ode, same))
    others = [f"{row.kind} {spread(row.bits, row.error)}" for row in bound[bound["kind"] != kind].itertuples()]
    compare = f" For comparison, {PUBLISHED}." if is_mnist else ""
    return (
        f"Density estimation is possible. In bits per dimension, test {noun}s cost {cost(test)} by the variational "
        f"bound of the unconditional model, {cost(conditional)} by the class-conditional one, and {cost(bare)} by the "
        f"bare network, which knows nothing of grey values. By the probability-flow ODE they cost {cost(by_ode)}, "
        f"where the bound gives {cost(by_bound)} for the same {noun}s. By the bound, {listing(others)}.{compare}"
    )


def method(bins: int) -> str:
    """How bits are counted."""
    return (
        "Both methods bound −log P from above, in fp32, with x₀ not clipped. Both dequantise by the forward process: "
        "the image at t = 1 and a discretised likelihood p(x₀ | x₁), which weights the normal density of x₁ with the "
        "frequencies of grey values in training images. The bound adds the prior, which is what x at T still holds of "
        f"the image, and the diffusion term in continuous time, one draw from each of {whole(bins)} log-SNR bins. The "
        "ODE takes log p(x₁) from the divergence of its flow by Hutchinson's estimator, one probe of random signs per "
        "image, and adds log q(x₁ | x₀); its images are the first of those of the bound. The two are densities of two "
        "processes, which agree as far as the score is right: on test images, and less on what the network never saw."
    )


def bits_table(bits: pd.DataFrame) -> Table:
    """Every kind of images by every method."""
    columns: list[Column] = [
        ("kind", "Images", str),
        ("label", "Class given", str),
        ("denoiser", "Denoiser", str),
        *COSTS,
    ]
    caption = (
        "Bits per dimension of 8-bit images, ± one standard error between images; smaller is more probable. Class "
        "given “none”: the unconditional model. Grey-aware: its estimates are drawn towards the grey values that are "
        "frequent in training images."
    )
    return table(bits, columns, caption)


def terms_picture(reports: Reports, terms: pd.DataFrame) -> Picture:
    """What every log-SNR bin adds to the bound."""
    label = "bits per dimension of a log-SNR bin"
    by_noise_level(reports.figure("terms.png"), terms.assign(value=terms["bits"]), "kind", label, log_scale=True)
    return reports.drawn(
        "terms.png",
        "What every log-SNR bin adds to the bound (logarithmic), ± one standard error: nothing where all is noise, "
        "most where grey values become distinguishable.",
        "Bits of the diffusion term against log-SNR",
    )


def terms_table(terms: pd.DataFrame) -> Table:
    """The same in figures."""
    columns: list[Column] = [
        ("kind", "Images", str),
        ("log_snr", "log-SNR", fixed),
        ("t", "t", number),
        ("bits", "Bits", lambda value: number(value, 3)),
        ("error", "± error", lambda value: number(value, 2)),
    ]
    return table(terms, columns, "The diffusion term by t, the middle of every log-SNR bin.")
