"""Whether samples are copies of training images."""

from typing import Any

from report.content import Section, Text
from report.plots.sheet import labelled_sheet
from report.reading import Reports
from report.wording import number, percent, share_error, whole

EXPECTED_NEAR = 0.01  # of new real images lie nearer to a training image than 99 % of the test images do


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """Samples beside their nearest real images."""
    verdict = reports.record("evaluate/metrics.json")
    text = distance_text(verdict["memorisation"]["ratio_median"])
    labelled_sheet(
        reports.figure("nearest.png"),
        reports.path("evaluate/nearest.png"),
        ["sample", "nearest in training", "nearest in test"],
    )
    nearest = reports.drawn(
        "nearest.png",
        "Samples above their nearest training and test images (distance in pixels). A copy would make the first two "
        "rows equal.",
        "Samples with their nearest real images",
    )
    return Section("memorisation", "Does it copy?", (copies_answer(verdict),), (nearest, *text))


def distance_text(ratio: float | None) -> list[Text]:
    """How far samples are from training images, over what it is for test images; empty where these lie among them."""
    if ratio is None:
        return []
    return [
        Text(
            f"The median sample is {number(ratio)} times as far from its nearest training image as a test image is "
            f"from its own. {ratio_in_words(ratio)}"
        )
    ]


def copies_answer(verdict: dict[str, Any]) -> str:
    """How many samples lie suspiciously near to a training image, beyond two standard errors of the expected share."""
    share, n = verdict["memorisation"]["share_below_1_percent"], verdict["n"]
    if share is None:
        return "Whether the model copies cannot be told: too many test images are in the training split as well."
    found = (
        f"{percent(share)} of {whole(n)} samples lie closer to a training image than 99 % of real test images do (1 % "
        "is expected)"
    )
    if share > EXPECTED_NEAR + 2 * share_error(EXPECTED_NEAR, n):
        times = number(share / EXPECTED_NEAR, 2)
        return f"{found}: {times} times too many, so some samples are near copies of training images."
    return f"{found}: no sign that the model copies its training images."


def ratio_in_words(ratio: float) -> str:
    """What the ratio of the two median distances means."""
    if ratio < 0.8:
        return "Well under 1: samples stay close to the training set."
    if ratio > 1.25:
        return "Well over 1: samples lie off the data, which is a lack of quality rather than memorisation."
    return "About 1, as for new real images."
