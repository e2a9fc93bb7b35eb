"""The score-based view: samplers from it, scores that are known, bits per dimension, and the ODE run backwards."""

import pandas as pd

from diffusion import plots, score_plots
from diffusion.report.content import Block, Folded, Section, Text, table
from diffusion.report.frontier import label
from diffusion.report.reading import Reports
from diffusion.report.wording import fixed, listing, number, percent, spread, whole

SAMPLERS = {
    "heun": "Heun (ODE)",
    "euler_maruyama": "Euler–Maruyama (SDE)",
    "predictor_corrector": "predictor–corrector",
}
PUBLISHED = "published flows reach 0.93 to 1.06 and autoregressive models 0.62 bits on MNIST, after its 60,000 digits"


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


def field_answer(errors: pd.DataFrame) -> str:
    """How near a learned score is to a known one, where there are points and where there are none."""
    relative = errors.assign(share=errors["error"] / errors["score"])
    low, high = (relative.groupby("log_snr")["share"].max().agg(kind) for kind in ("min", "max"))
    far = errors["far_error"].max()
    return (
        "A network that predicts ε knows the score: score = −ε / √(1 − ᾱ). Where the true score is known, on mixtures "
        f"of Gaussians in the plane, the error of the learned one is {percent(low)} to {percent(high)} of the score's "
        f"size where points are (root mean square, {whole(len(set(errors['log_snr'])))} noise levels, n = "
        f"{whole(errors['n'].iloc[0])} each), and up to {percent(far)} over the whole plane: where there is no data, "
        "nothing was learned."
    )


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


def bits_answer(bits: pd.DataFrame) -> str:
    """What digits cost by both bounds, and what else costs."""
    bound, ode = (bits[bits["method"] == method] for method in ("bound", "ode"))
    digits, told, bare = (
        bound[(bound["kind"] == bits["kind"].iloc[0]) & (bound["label"] == key) & (bound["denoiser"] == denoiser)]
        for key, denoiser in (("none", "grey-aware"), ("class", "grey-aware"), ("none", "network"))
    )
    by_ode = ode[ode["kind"] == bits["kind"].iloc[0]].iloc[0]
    others = bound[bound["kind"] != bits["kind"].iloc[0]]
    costs = [f"{row.kind} {spread(row.bits, row.error)}" for row in others.itertuples()]
    return (
        f"Density estimation is possible: {_bits(digits.iloc[0])} per dimension by the variational bound and "
        f"{_bits(by_ode)} by the probability-flow ODE for test digits without a class; "
        f"{_bits(told.iloc[0])} where the class is told, {_bits(bare.iloc[0])} without knowledge of grey values. By "
        f"the bound, {listing(costs)}. For comparison, {PUBLISHED}."
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
    """A sampler of this section with its steps, where it does not choose them itself."""
    return "the adaptive solver" if row["sampler"] == "adaptive" else f"{label(row['sampler'], row['eta'])}"


def mixture_blocks(reports: Reports) -> list[Block]:
    """Fields, trajectories, errors and samples where everything is known."""
    score_plots.score_fields(reports.figure("score_field.png"), reports.table("score/mixture_field.csv"))
    paths, points = reports.table("score/mixture_paths.csv"), reports.table("score/mixture_points.csv")
    score_plots.trajectories(reports.figure("score_paths.png"), paths, points, SAMPLERS)
    errors = reports.table("score/mixture_error.csv")
    near = errors.assign(value=errors["error"] / errors["score"], where=errors["mixture"] + ", where points are")
    far = errors.assign(value=errors["far_error"], where=errors["mixture"] + ", over the plane")
    drawn = pd.concat([near, far]).assign(error=0.0)
    score_plots.by_noise_level(
        reports.figure("score_error.png"), drawn, "where", "error of the learned score, relative", log_scale=True
    )
    return [
        reports.drawn(
            "score_field.png",
            "The score of two mixtures at four noise levels: true in grey, learned in orange on top, to one scale in "
            "each panel. Far from the points, at little noise, the two part.",
            "Arrows of true and learned scores",
        ),
        reports.drawn(
            "score_paths.png",
            "Ways from noise (dots) to samples (triangles) along the learned score; grey: points of the mixture. The "
            "ODE's ways are smooth, the SDE's are not; each sampler has the same start noise.",
            "Trajectories of three samplers in the plane",
        ),
        reports.drawn(
            "score_error.png",
            "Error of the learned score over the size of the true one, both root mean squares, by noise level.",
            "Relative error of learned scores against log-SNR",
        ),
        samples_table(reports.table("score/mixture_samples.csv")),
    ]


def samples_table(rows: pd.DataFrame) -> Block:
    """Samples of the mixtures by the exact and by the learned score."""
    shown = rows.assign(name=rows["sampler"].map(SAMPLERS))
    columns = [
        ("mixture", "Mixture", str),
        ("name", "Sampler", str),
        ("steps", "Steps", whole),
        ("score", "Score", str),
        ("log_density", "Log-density", fixed),
        ("log_density_error", "± error", lambda value: number(value, 2)),
        ("real_log_density", "Of real points", fixed),
        ("share_error", "Error of shares", percent),
        ("real_share_error", "Of real points", percent),
    ]
    caption = (
        f"Samples of the mixtures, n = {whole(rows['n'].iloc[0])}: their mean log-density under the true mixture, and "
        "by how much the share of a component is off at most, both beside as many real points. Rows with the exact "
        "score show what the sampler alone gets wrong."
    )
    return table(shown, columns, caption)


def sampler_blocks(reports: Reports) -> list[Block]:
    """The rows of stage `score` beside DDPM's and DDIM's of stage `evaluate`."""
    rows, known = reports.table("score/samplers.csv"), reports.table("evaluate/samplers.csv")
    known = known[known["sampler"].isin(("ddpm", "ddim"))].assign(calls=known["steps"])
    rows = pd.concat([rows, known])
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
    made = reports.table("score/samplers.csv")
    made = made[made["subset"] == "all"]
    names = [f"{named(row)}, {whole(row['calls'])}" for _, row in made.iterrows()]
    plots.labelled_sheet(reports.figure("score_samplers.png"), reports.folder / "score/samplers.png", names)
    sheet = reports.drawn(
        "score_samplers.png",
        "The same 16 start noises and classes by each of them; the number is network calls per image.",
        "Images of the samplers of the score, a row each",
    )
    without_empty = [column for column in columns if shown[column[0]].notna().any()]
    return [table(shown, without_empty, caption), sheet]


def bits_blocks(reports: Reports) -> list[Block]:
    """How bits were counted, what they are, and at which noise levels they are paid."""
    terms = reports.table("score/terms.csv")
    drawn = terms.assign(value=terms["bits"])
    score_plots.by_noise_level(
        reports.figure("score_terms.png"), drawn, "kind", "bits per dimension of a stretch of log-SNR", log_scale=True
    )
    columns = [
        ("kind", "Images", str),
        ("label", "Class told", str),
        ("denoiser", "Denoiser", str),
        ("method", "Method", {"bound": "variational bound", "ode": "probability-flow ODE"}.get),
        ("n", "n", whole),
        ("bits", "Bits per dimension", fixed),
        ("error", "± error", lambda value: number(value, 2)),
        ("prior", "Prior", lambda value: number(value, 2)),
        ("diffusion", "Diffusion", fixed),
        ("reconstruction", "Reconstruction", fixed),
    ]
    bits = reports.table("score/bits.csv")
    stretches = terms["log_snr"].nunique()
    caption = (
        "Bits per dimension of 8-bit images, ± one standard error between images; smaller is more probable. Class "
        "“none”: the null label. Grey-aware: the network's estimates drawn to the grey values frequent in training "
        "images."
    )
    how = Text(
        "Both methods bound −log P from above, in fp32, with x₀ not clipped. Both dequantise by the forward process: "
        "the image at t = 1 and a discretised likelihood p(x₀ | x₁), which weighs the normal density of x₁ with the "
        "shares of grey values in training images. The bound adds the prior, what x at T still knows of the image, and "
        f"the diffusion term in continuous time, one draw from each of {whole(stretches)} stretches of log-SNR. The "
        "ODE takes log p(x₁) from the divergence of its flow by Hutchinson's estimate, one probe of random signs per "
        "image, and the divergence of q(x₁ | x₀) from it; its images are the first of those of the bound."
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
    return [how, table(bits, columns, caption), picture, Folded("The diffusion term, t by t", (by_t,))]


def inversion_blocks(reports: Reports) -> list[Block]:
    """Digits to noise and back, and digits between two others."""
    rows = reports.table("score/inversion.csv")
    names = ["test digits", *(f"{whole(steps)} steps" for steps in rows["steps"])]
    plots.labelled_sheet(reports.figure("score_inversion.png"), reports.folder / "score/inversion.png", names)
    plots.labelled_sheet(reports.figure("score_interpolation.png"), reports.folder / "score/interpolation.png", [], [])
    columns = [
        ("steps", "Steps each way", whole),
        ("n", "n", whole),
        ("rms_error", "Difference", number),
        ("error", "± error", lambda value: number(value, 2)),
        ("noise_std", "Standard deviation of the noise", fixed),
    ]
    caption = (
        "Test digits to noise and back by DDIM, label null: root mean square difference (pixels from −1 to 1), and the "
        "spread of the noise they were turned into, 1 if it is as normal as it should be."
    )
    return [
        table(rows, columns, caption),
        reports.drawn("score_inversion.png", "Test digits, and what comes back from their noise.", "Digits and back"),
        reports.drawn(
            "score_interpolation.png",
            f"Between two test digits, on the great circle between their noises, {whole(rows['steps'].iloc[-1])} steps "
            "each way, label null: the ends are the digits themselves.",
            "Rows of images that lead from one digit to another",
        ),
    ]


def _bits(row: pd.Series) -> str:
    return f"{spread(row['bits'], row['error'])} bits (n = {whole(row['n'])})"


def _error(row: pd.Series) -> str:
    return spread(row["rms_error"], row["error"])
