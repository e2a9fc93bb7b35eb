"""`python -m benchmarks.playground`: the playground's size and speed, and how far its images are from the library's.

It opens `reports/playground.html` in Chromium; the page must have been built from the model that is compared.
"""

import argparse
import math
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from playwright.sync_api import Page, sync_playwright
from torch import Tensor

from diffusion.denoiser import Denoiser, clipped, guidance, load_denoiser
from diffusion.samplers.step import final
from diffusion.samplers.table import SamplerSetting

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]
SAMPLE = """async ({ sampler, steps, eta, spacing, label, scale, first, last, seed }) => {
  const noise = function* () {
    for (const draw of normals(seed, SIZE)) { drawn.push(Array.from(draw)); yield draw; }
  };
  const [drawn, meter] = [[], { seconds: 0, evaluations: 0 }];
  const denoiser = new Denoiser(network_for(meter), schedule, lesson.target, lesson.null_label);
  const denoise = clipped(guided(denoiser, label, scale, [first ?? -Infinity, last ?? Infinity]));
  const times = SPACINGS[spacing](schedule, steps);
  const began = performance.now();
  let image = null;
  for await (const { x_t } of SAMPLERS[sampler].walk(denoise, schedule, times, noise(), eta ?? undefined)) image = x_t;
  const seconds = (performance.now() - began) / 1000;
  return { image: Array.from(image), drawn, seconds, evaluations: meter.evaluations };
}"""


class Asked(NamedTuple):
    """An image: how it is sampled, of which class, and how strongly guided where."""

    setting: SamplerSetting
    label: int = 0
    scale: float = 1.0
    interval: tuple[float, float] = (-math.inf, math.inf)


class Compared(NamedTuple):
    """The largest difference between the page's image and the library's from the same noise, in [-1, 1]; its cost."""

    difference: float
    seconds: float
    evaluations: int


def compare(page: Page, denoiser: Denoiser, shape: tuple[int, ...], asked: Asked, seed: int = 0) -> Compared:
    """Sample the same image in the page and in the library, whose noise is that of the page."""
    first, last = (end if math.isfinite(end) else None for end in asked.interval)
    others = {"label": asked.label, "scale": asked.scale, "first": first, "last": last, "seed": seed}
    found: dict[str, Any] = page.evaluate(SAMPLE, asked.setting._asdict() | others)
    normals: Iterator[Tensor] = (torch.tensor(draw).reshape(1, *shape) for draw in found["drawn"])
    wrapped = clipped(guidance(asked.scale, interval=asked.interval)(denoiser, torch.tensor([asked.label])))
    image = final(asked.setting.start(wrapped, denoiser.schedule, normals))
    difference = (torch.tensor(found["image"]).reshape(1, *shape) - image).abs().max().item()
    return Compared(difference, found["seconds"], found["evaluations"])


def main(arguments: argparse.Namespace) -> None:
    """Print the size of the page, and a row for every sampler."""
    denoiser, description = load_denoiser(arguments.model, torch.device("cpu"), "fp32")
    net, timesteps = description["net"], description["timesteps"]
    shape = (net["image_channels"], net["image_size"], net["image_size"])
    print(f"{arguments.page}: {arguments.page.stat().st_size / 1e6:.2f} MB")
    asked = partial(Asked, label=3 % net["num_classes"])
    rows = {
        "DDIM, 10 steps": asked(SamplerSetting("ddim", 10)),
        "DDIM, 10 steps, w = 3": asked(SamplerSetting("ddim", 10), scale=3.0),
        "DDIM, 50 steps, eta = 0.5, w = 3 from -3 to 1": asked(
            SamplerSetting("ddim", 50, 0.5), scale=3.0, interval=(-3, 1)
        ),
        "DPM-Solver++(2M), 10 steps, even in log-SNR, w = 3": asked(
            SamplerSetting("dpmpp_2m", 10, spacing="log_snr"), scale=3.0
        ),
        "DPM-Solver++(2M), 20 steps, Karras": asked(SamplerSetting("dpmpp_2m", 20, spacing="karras")),
        f"DDPM, {timesteps} steps": asked(SamplerSetting("ddpm", timesteps)),
    }
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page()
        page.goto(arguments.page.absolute().as_uri())
        page.get_by_role("status").filter(has_text="Ready").wait_for()
        for name, row in rows.items():
            found = compare(page, denoiser, shape, row)
            print(
                f"{found.seconds:7.2f} s {found.evaluations:5} evaluations  difference {found.difference:.1e}  {name}"
            )
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.playground", description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("reports/playground.html"))
    parser.add_argument("--model", type=Path, default=Path("models/denoiser.safetensors"))
    main(parser.parse_args())
