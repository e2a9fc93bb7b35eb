"""The playground: one HTML file that holds a denoiser, what runs it in a browser, and images to start from."""

import base64
import gzip
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffusion.choices import SAMPLERS, SCHEDULES, TARGETS
from diffusion.data import Dataset, load_split
from diffusion.denoiser import Denoiser, load_denoiser, refuse_other_images
from diffusion.export.onnx import write_onnx
from diffusion.files import write_text
from diffusion.schedule import SPACINGS, NoiseSchedule, noise_schedule
from diffusion.tensors import Description
from playground.onnxruntime_web import Runtime
from report.render import content_hash

BROWSER = Path(__file__).parent / "browser"
SCRIPTS = ("diffusion.js", "network.js", "ui.js")
SIDES = ("A", "B")
SOLVERS = ("ddpm", "ddim", "dpmpp_2m")  # those of `SAMPLERS` that diffusion.js has
SPACING_LABELS = {"trailing": "even in t (trailing)", "log_snr": "even in log-SNR", "karras": "Karras et al., ρ = 7"}
MAX_IMAGES = 12  # of the test split


def build(model: Path, data: Path, out: Path, runtime: Runtime) -> None:
    """Write the page of a trained denoiser to `out`, with test images from the folder `data` to add noise to.

    Raises ValueError, one line, for files that are damaged or do not belong together, and OSError as `whole_file` does.
    """
    denoiser, description = load_denoiser(model, torch.device("cpu"), "fp32")
    test = load_split(data / "test.safetensors")
    refuse_other_images(model, description, test.shape, test.num_classes)
    assert set(SPACING_LABELS) == set(SPACINGS)
    module = _as_global(runtime.script)
    style, *scripts = (Markup((BROWSER / name).read_text(encoding="utf-8")) for name in ("playground.css", *SCRIPTS))
    hashes = " ".join(f"'{content_hash(script)}'" for script in (module, *scripts))
    environment = Environment(
        loader=FileSystemLoader(BROWSER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("playground.html.j2").render(
        policy=f"default-src 'none'; style-src '{content_hash(style)}'; script-src {hashes} 'wasm-unsafe-eval'; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        module=module,
        scripts=scripts,
        runtime=_packed(runtime.wasm),
        weights=_packed(_onnx(denoiser, description)),
        lesson=_as_json(lesson(denoiser, description, test)),
        parameters=sum(weight.numel() for weight in denoiser.net.parameters()),
        description=description,
        target=TARGETS[denoiser.target],
        sides=SIDES,
        classes=[*enumerate(description["class_names"]), (denoiser.null, "none")],
        samplers={name: SAMPLERS[name].label for name in SOLVERS},
        schedules=SCHEDULES,
        spacings=SPACING_LABELS,
    )
    write_text(out, page)


def lesson(denoiser: Denoiser, description: Description, test: Dataset) -> dict[str, Any]:
    """What the scripts know of the model and of the data, as JSON: every schedule as its table alpha_bar[0..T]."""
    net = description["net"]
    tables = {schedule.name: schedule.alpha_bar.tolist() for schedule in _schedules(description["timesteps"])}
    return {
        "shape": [net["image_channels"], net["image_size"], net["image_size"]],
        "class_names": description["class_names"],
        "null_label": denoiser.null,
        "target": denoiser.target,
        "schedule": description["schedule"],
        "schedules": {
            name: {"label": SCHEDULES[name].label, "colour": SCHEDULES[name].colour, "alpha_bar": table}
            for name, table in tables.items()
        },
        "images": [
            {"name": test.class_names[label], "pixels": base64.b64encode(image.numpy().tobytes()).decode()}
            for label, image in _one_of_each(test)
        ],
    }


def _schedules(timesteps: int) -> Iterator[NoiseSchedule]:
    """All schedules that have one with so many timesteps."""
    for name in SCHEDULES:
        try:
            yield noise_schedule(name, timesteps)
        except ValueError:  # linear betas reach 1 where T is small
            continue


def _one_of_each(test: Dataset) -> Iterator[tuple[int, torch.Tensor]]:
    """The first image of every class, for as many classes as a page has room for."""
    for label in test.labels.unique().tolist()[:MAX_IMAGES]:
        yield label, test.images[test.labels == label][0]


def _onnx(denoiser: Denoiser, description: Description) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "denoiser.onnx"
        write_onnx(denoiser, description, path)
        return path.read_bytes()


def _packed(content: bytes) -> str:
    """Bytes as a data block of the page, which `unpacked` of network.js reads."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _as_json(content: dict[str, Any]) -> Markup:
    """JSON inside of a script element, which no name of a class can end."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))


def _as_global(module: str) -> Markup:
    """The JavaScript module with its exports in the global `ort`, since a page from disk can import nothing."""
    before, exports, _ = re.split(r"export\s*\{([^}]*)\};?", module)
    names = re.findall(r"(\w+) as (InferenceSession|Tensor|env)\b", exports)
    script = f"{before}globalThis.ort = {{ {', '.join(f'{name}: {local}' for local, name in names)} }};"
    assert len(names) == 3 and "</script" not in script
    return Markup(script)
