"""The judge: who decides what an image shows, and how far that can be trusted."""

from typing import Any

from report.content import Section, Text
from report.reading import Reports
from report.second import ARCHITECTURE
from report.wording import fixed, number, percent, share_of, spread, whole


def section(reports: Reports, params: dict[str, Any]) -> Section:
    """The accuracy of both classifiers."""
    metrics = reports.record("judge/metrics.json")
    accuracy, n = metrics["accuracy"], metrics["n_test"]
    answer = (
        f"The judge, a small classifier with {whole(metrics['parameters'])} parameters, classifies "
        f"{share_of(accuracy, n)} of {whole(n)} real test images correctly, so about one image in "
        f"{whole(1 / max(1 - accuracy, 1 / (n + 1)))} is the judge's own mistake."
    )
    text = Text(
        "It was trained on real training images alone and never saw a sample. Another classifier, trained on images "
        "at every noise level, decides what is still recognisable; on clean test images it has an accuracy of "
        f"{percent(metrics['noisy']['accuracy_clean'])}. One trained on clean images only would fail there because it "
        f"has never seen noise, not because the {reports.noun()} is gone."
    )
    return Section("judge", "The judge", (answer,), (text, Text(second_judge(reports))))


def second_judge(reports: Reports) -> str:
    """What the second judge is, and what it says of the samples of the verdict."""
    metrics, opinion = reports.record("judge/metrics.json"), reports.record("evaluate/second.json")
    second, verdict, floor = metrics["second"], opinion["verdict"], opinion["floor"]
    measure = "kid" if verdict["fid"] is None else "fid"
    recall = "" if verdict["recall"] is None else f" and a recall of {fixed(verdict['recall'])}"
    return (
        f"A second judge of {whole(second['parameters'])} parameters, {ARCHITECTURE}, was trained on the same images "
        f"and recognises {share_of(second['accuracy'], metrics['n_test'])} of the test images. Of the verdict's "
        f"{whole(verdict['n'])} samples it recognises {share_of(verdict['accuracy'], verdict['n'])}; by its features "
        f"they have {'an FID' if measure == 'fid' else 'a KID'} of {number(verdict[measure])}{recall} (real images: "
        f"{spread(floor['mean'][measure], floor['std'][measure])}). Where the two judges rank samplers or models "
        "differently, their tables say so."
    )
