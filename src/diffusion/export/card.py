"""The model card: what a model is, what it was trained on, how good it is and by which measure, and its limits.

Every figure comes from the records of the run that trained the model; without them the card has none.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffusion.choices import SAMPLERS, TARGETS
from diffusion.denoiser import Denoiser
from diffusion.export.formats import Format
from diffusion.tensors import Description, one_line

RECORDS = ("train/model.json", "data/card.json", "judge/metrics.json", "evaluate/metrics.json")
Records = dict[str, dict[str, Any]]  # by RECORDS
MEASURES = ("precision", "recall", "clipped_density", "coverage", "clipped_coverage")


def records_of(model: Path, reports: Path) -> Records | None:
    """The records of the run that trained a model; None unless `reports` (or results) are of the model in this file.

    Raises ValueError for a record that cannot be read.
    """
    path = reports / RECORDS[0]
    with open(model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_file() or read(path).get("sha256") != digest:
        return None
    return {name: read(reports / name) for name in RECORDS}


def read(path: Path) -> dict[str, Any]:
    """A record. Raises ValueError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no record of a run ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: no record of a run (expected a JSON object)")
    return content


def model_card(denoiser: Denoiser, description: Description, records: Records | None, form: Format) -> str:
    """The card as Markdown, with what Hugging Face reads of it at its top. Raises ValueError for a record that lacks
    a figure."""
    names, net = description["class_names"], description["net"]
    images = f"{net['image_size']}x{net['image_size']} {'grey' if net['image_channels'] == 1 else 'RGB'} images"
    size = sum(parameter.numel() for parameter in denoiser.net.parameters())
    classes = json.dumps([names[0], names[-1]], ensure_ascii=False)
    try:
        measured = [*data(records), *figures(records), *limits(records)] if records else [UNMEASURED]
    except (LookupError, TypeError) as error:
        raise ValueError(f"{', '.join(RECORDS)}: not the records of a run ({one_line(error)} is missing)") from error
    steps = f" It was trained for {records[RECORDS[0]]['steps']:,} steps." if records else ""
    parts = [
        "---\npipeline_tag: unconditional-image-generation\ntags:\n- diffusion\n- class-conditional\n---",
        f"# A diffusion model of {images}",
        f"A U-Net with {size:,} weights predicts {TARGETS[denoiser.target]} from a noised image, its time and its "
        f"class, under the {denoiser.schedule.name} schedule with T = {denoiser.schedule.timesteps:,}.{steps} It makes "
        f"images of {len(names)} classes, with or without classifier-free guidance.",
        f"Classes: {', '.join(map(quoted, names))}.",
        "## How to use it",
        form.use.replace("{classes}", classes).rstrip("\n"),
        *measured,
    ]
    return "\n\n".join(parts) + "\n"


UNMEASURED = """\
## Data, figures and limits

The run that trained this model was not at hand when this card was written, so that nothing is said of its data, their
licence or its quality. Unknown quality is the first of its limits."""


def data(records: Records) -> Iterator[str]:
    """What the model was trained on, and whose it is."""
    card = records["data/card.json"]
    splits = card["splits"]
    yield "## Data"
    yield (
        f"{card['dataset']}: {card['source']}. Licence of the data: {card['license'] or 'not stated'}. The model was "
        f"trained on {splits['train']['n']:,} images; {splits['test']['n']:,} others were kept for measuring."
    )


def figures(records: Records) -> Iterator[str]:
    """What was measured, each figure with its n and what real images score."""
    verdict, judge = records["evaluate/metrics.json"], records["judge/metrics.json"]
    sampler = SAMPLERS[verdict["sampler"]].label
    rows = [("Recognised as the class asked for", percent(verdict["accuracy"]), percent(judge["accuracy"]))]
    if verdict["fid"] is not None:
        rows.append(("FID, lower is better", f"{verdict['fid']:.2f}", spread(verdict["fid_floor"])))
    rows.append(("KID, 0 for equal distributions", spread(verdict["kid"]), spread(verdict["kid_floor"])))
    for name in MEASURES:
        if verdict[name] is not None:
            found, floor = verdict[name], verdict["floor"][name]
            rows.append((f"{name.capitalize()}, higher is better", f"{found:.3f}", f"{floor:.3f}"))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    yield "## Figures"
    yield (
        f"n = {verdict['n']:,} images by {sampler} in {verdict['calls']} network evaluations each, without guidance, "
        f"against the {verdict['reference']}. The floor is what n = {verdict['fid_floor']['n']:,} real training images "
        f"score against the same test images (mean of {verdict['fid_floor']['draws']} draws), and for recognised ones "
        f"what the {judge['n_test']:,} test images score; no model can be expected to do better."
    )
    yield f"| measure | this model | floor |\n|---|---:|---:|\n{table}"
    yield (
        f"Images are compared by {verdict['extractor']}. Such figures compare models of this data with one another and "
        "with the floor, and not with the Inception-based ones of papers."
    )


def limits(records: Records) -> Iterator[str]:
    """What not to expect."""
    card, verdict = records["data/card.json"], records["evaluate/metrics.json"]
    channels, height, width = card["image_shape"]
    train, copied = card["splits"]["train"]["n"], verdict["memorisation"]["share_below_1_percent"]
    points = [
        f"It knows {width}x{height} pixels in {channels} channel{'s' * (channels > 1)} and the classes above, and "
        "nothing else.",
        f"It has whatever bias {train:,} images of {card['dataset']} have. It is meant for teaching and for comparing "
        "methods, not as evidence of what real images look like.",
        "One training with one seed was measured: another one scores differently, by an amount that is not known here.",
    ]
    if copied is not None:
        points.append(
            f"{percent(copied)} of {verdict['n']:,} samples are nearer to a training image than all but 1 % of the "
            "test images are; of a model without copies, 1 % are expected to be."
        )
    yield "## Limits"
    yield "\n".join(f"- {point}" for point in points)


def spread(measure: dict[str, float]) -> str:
    """A mean with its standard deviation."""
    return f"{measure['mean']:.2f} ± {measure['std']:.2f}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


def quoted(name: str) -> str:
    """A name from outside as code, in which Markdown reads nothing."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    space = " " * (len(ticks) > 1)
    return f"{ticks}{space}{name}{space}{ticks}"
