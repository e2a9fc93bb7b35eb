"""The lesson's claims that this chapter decides."""

from collections.abc import Iterator
from typing import Any

from report.claims import Claim, agreement, claims_table
from report.content import Section
from report.latent.comparison import costs
from report.latent.larger import rates
from report.reading import Reports
from report.studies import LARGER
from report.wording import number, whole

CLEARLY_CHEAPER = 1.25  # times: two clocks read minutes apart on a shared machine differ by less for no reason


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """A row per claim."""
    return claims_table([*latent_claims(reports)])


def latent_claims(reports: Reports) -> Iterator[Claim]:
    """About diffusion in latents."""
    ratio = costs(reports)
    text = (
        f"{number(ratio['training'])} times as many images of training per second as in pixel space, and "
        f"{number(ratio['sample'])} times as many samples, decoding included (cheaper from {CLEARLY_CHEAPER:g} times "
        "on)"
    )
    yield Claim("Latent diffusion is cheaper", text, agreement(min(ratio.values()) >= CLEARLY_CHEAPER))
    if LARGER.speaks(reports):
        rows = reports.table("larger/larger.csv")
        small, large = (rates(rows, size) for size in (rows["size"].min(), rows["size"].max()))
        text = (
            f"at {whole(rows['size'].max())} pixels a side {number(large)} times as many images of training per second "
            f"as in pixel space, {number(small)} times at {whole(rows['size'].min())}"
        )
        yield Claim("Latent diffusion gains more on larger images", text, agreement(large > small))
