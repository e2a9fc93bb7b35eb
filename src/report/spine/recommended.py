"""The recommended setting: what it is in words, and what it is worth beside the model at w = 1."""

import math
from typing import Any

from diffusion.choices import GUIDANCE
from report.looks import sampler_label
from report.reading import Reports
from report.wording import nfe

ALL_LOG_SNR = 30.0  # an interval from minus this to this is everywhere
UNGUIDED = "without guidance (w = 1)"


def recommended(reports: Reports) -> dict[str, Any]:
    """The verdict on the recommended setting, which params.yaml names."""
    return reports.record("evaluate/recommended.json")


def setting_of(verdict: dict[str, Any]) -> str:
    """The sampler of a verdict and its cost: DDIM, 50 NFE; of the recommended setting, its guidance too."""
    eta = verdict["eta"] or math.nan
    return ", ".join([sampler_label(verdict["sampler"], eta), *guidance_of(verdict), nfe(verdict["calls"])])


def guidance_of(verdict: dict[str, Any]) -> list[str]:
    """The guidance of a verdict in words, nothing where there is none: autoguidance with w = 2."""
    scale = verdict.get("scale", 1.0)
    if scale == 1:
        return []
    first, last = verdict["interval"]
    everywhere = first <= -ALL_LOG_SNR and last >= ALL_LOG_SNR
    where = "" if everywhere else f" at log-SNR {first:g} to {last:g}".replace("-", "−").replace("log−SNR", "log-SNR")
    return [f"{GUIDANCE[verdict['guidance']]} with w = {scale:g}{where}"]
