"""The lesson's claims, each beside what was measured here, also where the two do not agree."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from report import exercises, guidance, latent, noise, samplers
from report.content import Cell, Section, Table
from report.reading import EXERCISES, Reports
from report.training import PURE_NOISE_AMPLITUDE
from report.wording import differ, fixed, listing, number, percent, share_error, spread, whole

AGREES, DISAGREES, OPEN = "agrees", "does not agree", "not measured"
GOOD_SCORE_ERROR = 0.1
CLEARLY_CHEAPER = 1.25  # times: two clocks read minutes apart on a shared machine differ by less for no reason
Claim = tuple[str, str, str]


def claims_section(reports: Reports, params: dict[str, Any]) -> Section:
    """A row per claim: the claim, the measurement, whether they agree."""
    claims = [
        *noise_claims(reports, params),
        *sampler_claims(reports),
        *guidance_claims(reports),
        *score_claims(reports),
        *latent_claims(reports),
    ]
    counts = [(sum(verdict == kind for _, _, verdict in claims), kind) for kind in (AGREES, DISAGREES, OPEN)]
    words = {AGREES: "agree with the measurements", DISAGREES: "do not agree", OPEN: "cannot be decided by one run"}
    parts = [f"{count} {words[kind]}" for count, kind in counts if count]
    rows = tuple(tuple(Cell(text) for text in claim) for claim in claims)
    return Section(
        "claims",
        "The lesson's claims",
        (f"Of {len(claims)} claims, {listing(parts)}.",),
        (Table("One run, one seed.", ("Claim", "Measured", "Verdict"), (False, False, False), rows),),
    )


def noise_claims(reports: Reports, params: dict[str, Any]) -> Iterator[Claim]:
    """About the forward process and the schedules."""
    metrics = reports.record("schedules/metrics.json")
    amplitude = metrics["alpha_bar_T"][params["schedule"]] ** 0.5
    yield (
        "x at T is pure noise",
        f"`{params['schedule']}` with T = {whole(params['timesteps'])} leaves {percent(amplitude)} of the image's "
        f"amplitude",
        AGREES if amplitude < PURE_NOISE_AMPLITUDE else DISAGREES,
    )
    early = noise.early_noise(metrics)
    verdict = {"agrees": AGREES, "disagrees": DISAGREES, "unknown": OPEN}[early]
    yield "Linear spends its noise too quickly", noise.schedules_answer(metrics)[0], verdict
    text, agrees = "one run trains one schedule: `make study STUDY=exercises` trains both", None
    if EXERCISES in reports:
        text, agrees = exercises.cosine_is_better(reports)
    yield "Cosine performs better than linear", text, {True: AGREES, False: DISAGREES, None: OPEN}[agrees]


def sampler_claims(reports: Reports) -> Iterator[Claim]:
    """About DDPM, DDIM and eta."""
    rows, eta = samplers.joined(reports), reports.table("evaluate/eta.csv")
    ddpm, ddim = samplers.compared(rows)
    change = samplers.quality_change(ddpm, ddim)
    as_good = (
        f"{number(ddpm['seconds'] / ddim['seconds'])} times faster; KID {_kid(ddim)} against {_kid(ddpm)}, "
        f"n = {whole(ddpm['n'])} each"
    )
    faster = ddim["seconds"] < ddpm["seconds"] and change != "worse"
    yield f"DDIM with {ddim['steps']} steps is faster and about as good", as_good, AGREES if faster else DISAGREES
    still = eta[eta["eta"] == 0]
    if len(still):
        difference = still["rms_difference"].max()
        yield (
            "DDIM with η = 0 is deterministic",
            f"two runs differ by {number(difference)}",
            AGREES if difference == 0 else DISAGREES,
        )
    noisy = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 1)].sort_values("steps")
    if len(noisy):
        yield _eta_one(ddpm, noisy)


def guidance_claims(reports: Reports) -> Iterator[Claim]:
    """About the guidance scale."""
    rows = reports.table("guidance/metrics.csv")
    pair = guidance.ends(rows)
    if pair is not None:
        weak, strong = pair
        for claim, measure, wanted in (
            ("w > 1 is sharper", "sharpness", "rises"),
            ("w > 1 is less diverse", "diversity", "falls"),
        ):
            if pd.notna(weak[measure]) and pd.notna(strong[measure]):
                text = (
                    f"{measure} {fixed(weak[measure])} at w = {weak['scale']:g}, {fixed(strong[measure])} at w "
                    f"= {strong['scale']:g}, n = {whole(strong['n'])} each"
                )
                yield claim, text, AGREES if guidance.change(weak, strong, measure) == wanted else DISAGREES
    below, plain = rows[rows["scale"] < 1].sort_values("scale"), rows[rows["scale"] == 1]
    if len(below) and len(plain):
        weaker, full = below.iloc[0], plain.iloc[0]
        text = (
            f"class accuracy {percent(weaker['accuracy'])} at w = {weaker['scale']:g}, {percent(full['accuracy'])} at "
            "w = 1"
        )
        yield (
            "w < 1 follows the class less",
            text,
            AGREES if guidance.change(weaker, full, "accuracy") == "rises" else DISAGREES,
        )


def latent_claims(reports: Reports) -> Iterator[Claim]:
    """About diffusion in latents."""
    ratio = latent.costs(reports)
    text = (
        f"{number(ratio['training'])} times as many images of training per second as in pixel space, and "
        f"{number(ratio['sample'])} times as many samples, decoding included (cheaper from "
        f"{CLEARLY_CHEAPER:g} times on)"
    )
    yield "Latent diffusion is cheaper", text, AGREES if min(ratio.values()) >= CLEARLY_CHEAPER else DISAGREES
    if f"{latent.LARGER}/about.json" in reports:
        rows = reports.table(f"{latent.LARGER}/larger.csv")
        small, large = (latent.rates(rows, size) for size in (rows["size"].min(), rows["size"].max()))
        text = (
            f"at {whole(rows['size'].max())} pixels a side {number(large)} times as many images of training per second "
            f"as in pixel space, {number(small)} times at {whole(rows['size'].min())}"
        )
        yield "Latent diffusion gains more on larger images", text, AGREES if large > small else DISAGREES


def score_claims(reports: Reports) -> Iterator[Claim]:
    """About the score."""
    errors = reports.table("score/mixture_error.csv")
    median = (errors["error"] / errors["score"]).median()
    yield (
        "A network that predicts ε knows the score",
        f"on mixtures of Gaussians, where the score is known, the learned one is off by {percent(median)} of its size "
        f"(median over {whole(len(errors))} noise levels and mixtures)",
        AGREES if median < GOOD_SCORE_ERROR else DISAGREES,
    )


def _eta_one(ddpm: pd.Series, noisy: pd.DataFrame) -> Claim:
    last = noisy.iloc[-1]
    kid = samplers.quality_change(ddpm, last)
    errors = [share_error(row["accuracy"], row["n"]) for row in (ddpm, last)]
    same = kid == "same" and not differ(ddpm["accuracy"], last["accuracy"], *errors)
    text = (
        f"with {whole(last['steps'])} steps KID {_kid(last)} and class accuracy {percent(last['accuracy'])}; DDPM "
        f"with {whole(ddpm['steps'])}: {_kid(ddpm)} and {percent(ddpm['accuracy'])} (n = {whole(ddpm['n'])} each). On "
        "the same T times the two are one formula"
    )
    return "DDIM with η = 1 is the same as DDPM", text, AGREES if same else DISAGREES


def _kid(row: pd.Series) -> str:
    return spread(row["kid"], row["kid_std"])
