"""The judge: who decides what an image shows, and how far that can be trusted."""

from typing import Any

from report.content import Section, Text
from report.reading import Reports
from report.wording import percent, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The accuracy of both classifiers."""
    metrics = reports.record("judge/metrics.json")
    accuracy, n = metrics["accuracy"], metrics["n_test"]
    answer = (
        f"The judge, a small classifier with {whole(metrics['parameters'])} parameters, classifies {percent(accuracy)} "
        f"of {whole(n)} real test images correctly, so about one image in "
        f"{whole(1 / max(1 - accuracy, 1 / (n + 1)))} is the judge's own mistake."
    )
    text = Text(
        "It was trained on real training images alone and never saw a sample. A second classifier, trained on images "
        "at every noise level, decides what is still recognisable; on clean test images it has an accuracy of "
        f"{percent(metrics['noisy']['accuracy_clean'])}. One trained on clean images only would fail there because it "
        f"has never seen noise, not because the {reports.noun()} is gone."
    )
    return Section("judge", "The judge", (answer,), (text,))
