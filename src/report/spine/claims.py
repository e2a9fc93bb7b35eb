"""The lesson's claims that the spine decides, each beside what was measured here."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from report.claims import OPEN, Claim, agreement, claims_table
from report.content import Section
from report.paired import pairs
from report.reading import Reports
from report.spine import exercises, samplers, schedules
from report.spine.guidance_words import CONDITIONAL, change, ends
from report.spine.training import PURE_NOISE_AMPLITUDE
from report.studies import EXERCISES
from report.wording import fixed, number, percent, spread, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """A row per claim: the claim, the measurement, whether they agree."""
    claims = [
        *noise_claims(reports, params),
        *sampler_claims(samplers.joined(reports), reports.table("evaluate/eta.csv")),
        *guidance_claims(reports.table("guidance/metrics.csv")),
    ]
    return claims_table(claims)


def noise_claims(reports: Reports, params: dict[str, Any]) -> Iterator[Claim]:
    """About the forward process and the schedules."""
    metrics = reports.record("schedules/metrics.json")
    amplitude = metrics["alpha_bar_T"][params["schedule"]] ** 0.5
    left = f"`{params['schedule']}` with T = {whole(params['timesteps'])} leaves {percent(amplitude)} of the image's"
    yield Claim("x at T is pure noise", f"{left} amplitude", agreement(amplitude < PURE_NOISE_AMPLITUDE))
    early = schedules.early_noise(metrics)
    verdict = OPEN if early == "unknown" else agreement(early == "agrees")
    yield Claim("Linear spends its noise too quickly", schedules.schedules_answer(metrics)[0], verdict)
    text, verdict = "one run trains one schedule: `make sweep SWEEP=studies/exercises.yaml` trains both", OPEN
    if EXERCISES.speaks(reports):
        text, better = exercises.cosine_is_better(reports)
        verdict = agreement(better)
    yield Claim("Cosine performs better than linear", text, verdict)


def sampler_claims(rows: pd.DataFrame, eta: pd.DataFrame) -> Iterator[Claim]:
    """About DDPM, DDIM and eta; `rows` as `joined`."""
    ddpm, ddim = samplers.compared(rows)
    measure, gain = ("calls", "fewer network evaluations") if ddpm["busy"] else ("seconds", "faster")
    as_good = (
        f"{number(ddpm[measure] / ddim[measure])} times {gain}; KID {_kid(ddim)} against {_kid(ddpm)}, "
        f"n = {whole(ddpm['n'])} each"
    )
    agrees = ddim[measure] < ddpm[measure] and samplers.quality_change(ddpm, ddim) != "worse"
    yield Claim(f"DDIM with {ddim['steps']} steps is faster and about as good", as_good, agreement(agrees))
    still = eta[eta["eta"] == 0]["rms_difference"]
    if len(still):
        text = f"two runs differ by {number(still.max())}"
        yield Claim("DDIM with η = 0 is deterministic", text, agreement(still.max() == 0))
    noisy = rows[(rows["sampler"] == "ddim") & (rows["eta"] == 1)].sort_values("steps")
    if len(noisy):
        yield _eta_one(ddpm, noisy.iloc[-1])


def guidance_claims(rows: pd.DataFrame) -> Iterator[Claim]:
    """About the guidance scale."""
    pair = ends(rows)
    if pair is not None:
        weak, strong = pair
        for claim, measure, wanted in (
            ("w > 1 is sharper", "sharpness", "rises"),
            ("w > 1 is less diverse", "diversity", "falls"),
        ):
            if pd.notna(weak[measure]) and pd.notna(strong[measure]):
                text = (
                    f"{measure} {fixed(weak[measure])} at w = {weak['scale']:g}, {fixed(strong[measure])} at w = "
                    f"{strong['scale']:g}, n = {whole(strong['n'])} each"
                )
                yield Claim(claim, text, agreement(change(weak, strong, measure) == wanted))
    below, plain = rows[rows["scale"] < CONDITIONAL].sort_values("scale"), rows[rows["scale"] == CONDITIONAL]
    if len(below) and len(plain):
        weaker, full = below.iloc[0], plain.iloc[0]
        text = (
            f"class accuracy {percent(weaker['accuracy'])} at w = {weaker['scale']:g}, {percent(full['accuracy'])} at "
            "w = 1"
        )
        yield Claim("w < 1 follows the class less", text, agreement(change(weaker, full, "accuracy") == "rises"))


def _eta_one(ddpm: pd.Series, last: pd.Series) -> Claim:
    recognised = pairs(ddpm["recognised"], last["recognised"])
    same = samplers.quality_change(ddpm, last) == "same" and recognised.movement == "stays"
    text = (
        f"with {whole(last['steps'])} steps KID {_kid(last)} and class accuracy {percent(last['accuracy'])}; DDPM with "
        f"{whole(ddpm['steps'])}: {_kid(ddpm)} and {percent(ddpm['accuracy'])} (n = {whole(ddpm['n'])} each). On the "
        "same T timesteps the two are one formula"
    )
    return Claim("DDIM with η = 1 is the same as DDPM", text, agreement(same))


def _kid(row: pd.Series) -> str:
    return spread(row["kid"], row["kid_std"])
