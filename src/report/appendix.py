"""What the page rests on: the data, the judge, the params, the versions, the machines."""

from typing import Any

from report.content import Cell, Section, Table, Text, table
from report.plots.sheet import labelled_sheet
from report.reading import Reports, flat, literal
from report.wording import duration, number, percent, whole

MEASURED = {
    "seconds": duration,
    "images_per_second": number,
    "peak_memory_mib": lambda value: f"{whole(value)} MiB",
    "parameters": whole,
    "batch_size": whole,
}


def data_section(reports: Reports) -> Section:
    """The data card."""
    card, counts = reports.record("data/card.json"), reports.table("data/counts.csv")
    splits = card["splits"]
    channels, height, width = card["image_shape"]
    answer = (
        f"{card['dataset']}: {whole(splits['train']['n'])} images to train on and {whole(splits['test']['n'])} held "
        f"back, in {len(counts)} classes, {width} × {height} pixels, {'grey' if channels == 1 else 'colour'}."
    )
    pixels = "; ".join(
        f"{name} split: mean {number(split['mean'])}, standard deviation {number(split['std'])}"
        for name, split in splits.items()
    )
    origin = [f"Source: {card['source']}."] + ([f"Licence: {card['license']}."] if card.get("license") else [])
    text = Text(
        f"{' '.join(origin)} Pixels are scaled to [−1, 1] ({pixels}). SHA-256 of the source: `{card['checksum']}`."
    )
    labelled_sheet(reports.figure("data.png"), reports.folder / "data/examples.png", reports.row_names())
    examples = reports.drawn(
        "data.png", "Real training images, a row per class.", "Grid of real images, a row per class"
    )
    columns = [("class", "Class", str), ("train", "Train", whole), ("test", "Test", whole)]
    counted = table(counts, columns, "Images per class.")
    return Section("data", "The data", (answer,), (examples, text, counted))


def judge_section(reports: Reports) -> Section:
    """Who says what a digit is, and how far that can be trusted."""
    metrics = reports.record("judge/metrics.json")
    accuracy, n = metrics["accuracy"], metrics["n_test"]
    answer = (
        f"The judge, a small classifier with {whole(metrics['parameters'])} weights, reads {percent(accuracy)} of "
        f"{whole(n)} real test images right, so one image in {whole(1 / max(1 - accuracy, 1 / (n + 1)))} is misread "
        "by the judge itself."
    )
    text = Text(
        "It was trained on real training images alone and never saw a sample. A second classifier, trained on noised "
        "images at every level of noise, decides what is still recognisable; on clean test images it is right "
        f"{percent(metrics['noisy']['accuracy_clean'])} of the time. One trained on clean images only would fail "
        "there because noise is strange to it, not because the digit is gone."
    )
    return Section("judge", "The judge", (answer,), (text,))


def appendix_section(reports: Reports, params: dict[str, Any]) -> Section:
    """Params, and every timing.json of the folder side by side."""
    answer = (
        f"Seed {params['seed']}; {params['data']['dataset']}; `{params['schedule']}` schedule with T = "
        f"{whole(params['timesteps'])}. The same params on the same machine give the same figures, "
        "but for the seconds; on another processor they change in the last digits."
    )
    again = Text(
        "Clock figures come from the machine that ran the stage, which need not be yours. To measure again: `dvc "
        "repro -f -s benchmark`."
    )
    return Section("appendix", "Params, versions, machine", (answer,), (_machines(reports), again, _params(params)))


def _machines(reports: Reports) -> Table:
    records = {
        path.parent.name: reports.record(f"{path.parent.name}/timing.json")
        for path in sorted(reports.folder.glob("*/timing.json"))
    }
    keys = list(dict.fromkeys(key for record in records.values() for key in record))
    rows = tuple(
        (Cell(key.replace("_", " ")), *(Cell(_shown(key, record.get(key))) for record in records.values()))
        for key in keys
    )
    return Table("Machine and versions, by stage.", ("Figure", *records), (False,) * (1 + len(records)), rows)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return ""
    return MEASURED.get(key, str)(value)


def _params(params: dict[str, Any]) -> Table:
    rows = tuple((Cell(key), Cell(_plain(value))) for key, value in flat(params).items())
    return Table("params.yaml of this run.", ("Key", "Value"), (False, False), rows)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else literal(str(value))
