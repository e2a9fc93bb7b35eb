"""Bits per dimension: by which bounds, of which images, and at which noise levels they are paid."""

import pandas as pd

from report.content import Block, Folded, Text, table
from report.plots.score import by_noise_level
from report.reading import Reports
from report.wording import duration, fixed, listing, number, spread, whole

METHODS = {  # as in the tables, as shown
    "bound": "variational bound",
    "ODE": "probability-flow ODE",
    "bound of the ODE's images": "variational bound, same images",
}
COSTS = (
    ("method", "Method", METHODS.get),
    ("n", "n", whole),
    ("bits", "Bits per dimension", number),
    ("error", "± error", lambda value: number(value, 2)),
    ("prior", "Prior", lambda value: number(value, 2)),
    ("diffusion", "Diffusion", number),
    ("reconstruction", "Reconstruction", number),
)
STUDY = "density"
PUBLISHED = "published flows reach 0.93 to 1.06 and autoregressive models 0.62 bits on MNIST, after its 60,000 digits"


def bits_answer(bits: pd.DataFrame) -> str:
    """What digits cost by both bounds, and what else costs."""
    bound, ode, same = (bits[bits["method"] == method] for method in METHODS)
    digits, told, bare = (
        bound[(bound["kind"] == bits["kind"].iloc[0]) & (bound["label"] == key) & (bound["denoiser"] == denoiser)]
        for key, denoiser in (("none", "grey-aware"), ("class", "grey-aware"), ("none", "network"))
    )
    by_ode, by_bound = (rows[rows["kind"] == bits["kind"].iloc[0]].iloc[0] for rows in (ode, same))
    others = bound[bound["kind"] != bits["kind"].iloc[0]]
    costs = [f"{row.kind} {spread(row.bits, row.error)}" for row in others.itertuples()]
    return (
        f"Density estimation is possible. In bits per dimension, test digits cost {_bits(digits.iloc[0])} by the "
        f"variational bound with no class told, {_bits(told.iloc[0])} with their class, and {_bits(bare.iloc[0])} by "
        f"the bare network, which knows nothing of grey values. By the probability-flow ODE they cost {_bits(by_ode)}, "
        f"where the bound says {_bits(by_bound)} of the same digits. By the bound, {listing(costs)}. For comparison, "
        f"{PUBLISHED}."
    )


def bits_blocks(reports: Reports) -> list[Block]:
    """How bits were counted, what they are, and at which noise levels they are paid."""
    terms = reports.table("score/terms.csv")
    drawn = terms.assign(value=terms["bits"])
    by_noise_level(
        reports.figure("score_terms.png"), drawn, "kind", "bits per dimension of a stretch of log-SNR", log_scale=True
    )
    columns = [
        ("kind", "Images", str),
        ("label", "Class told", str),
        ("denoiser", "Denoiser", str),
        *COSTS,
    ]
    bits = reports.table("score/bits.csv")
    stretches = terms["log_snr"].nunique()
    caption = (
        "Bits per dimension of 8-bit images, ± one standard error between images; smaller is more probable. Class "
        "“none”: the network was asked without a label. Grey-aware: its estimates are drawn to the grey values "
        "that are frequent in training images."
    )
    how = Text(
        "Both methods bound −log P from above, in fp32, with x₀ not clipped. Both dequantise by the forward process: "
        "the image at t = 1 and a discretised likelihood p(x₀ | x₁), which weighs the normal density of x₁ with the "
        "shares of grey values in training images. The bound adds the prior, what x at T still knows of the image, and "
        f"the diffusion term in continuous time, one draw from each of {whole(stretches)} stretches of log-SNR. The "
        "ODE takes log p(x₁) from the divergence of its flow by Hutchinson's estimate, one probe of random signs per "
        "image, and adds log q(x₁ | x₀); its images are the first of those of the bound. The two are densities of two "
        "processes, which agree as far as the score is right: on digits, and less on what the network never saw."
    )
    picture = reports.drawn(
        "score_terms.png",
        "What every stretch of log-SNR adds to the bound (logarithmic), ± one standard error: nothing is paid where "
        "all is noise, most where grey values are told apart.",
        "Bits of the diffusion term against log-SNR",
    )
    by_t = table(
        terms,
        [
            ("kind", "Images", str),
            ("log_snr", "log-SNR", fixed),
            ("t", "t", number),
            ("bits", "Bits", lambda value: number(value, 3)),
            ("error", "± error", lambda value: number(value, 2)),
        ],
        "The diffusion term by t, the middle of every stretch.",
    )
    return [
        *(how, table(bits, columns, caption), picture, Folded("The diffusion term, t by t", (by_t,))),
        *study_blocks(reports),
    ]


def study_blocks(reports: Reports) -> list[Block]:
    """The committed results of `make study STUDY=density`; nothing where there are none (timing.json is last)."""
    if f"{STUDY}/timing.json" not in reports:
        return []
    rows, about = reports.table(f"{STUDY}/density.csv"), reports.record(f"{STUDY}/about.json")
    timing = reports.record(f"{STUDY}/timing.json")
    bound, ode, same = (rows[rows["method"] == method].iloc[0] for method in METHODS)
    text = Text(
        f"A denoiser that is trained for likelihood alone, on {whole(about['images'])} images and for "
        f"{duration(about['cpu_seconds'])} of one core (`make study STUDY=density`), pays {_bits(bound)} by the "
        f"variational bound, no class told; by the ODE {_bits(ode)}, where the bound says {_bits(same)} of the same "
        "images. Its network tells shares of grey values, with which what a pixel shows by itself is multiplied in "
        "closed form."
    )
    caption = (
        f"Bits per dimension of 8-bit test images for a denoiser trained for likelihood, {whole(timing['parameters'])} "
        f"weights, {whole(about['steps'])} steps; ± one standard error between images."
    )
    return [text, table(rows, COSTS, caption)]


def _bits(row: pd.Series) -> str:
    return f"{spread(row['bits'], row['error'])} (n = {whole(row['n'])})"
