"""The command line: `diffusion-export --format diffusers --out folder` writes a model in a form that other tools read.

Every format is a folder with a model card, README.md, which has the figures of the run that trained the model.
"""

import argparse
from pathlib import Path

import torch

from diffusion.command_line import Parser, run_in_one_line
from diffusion.denoiser import load_denoiser
from diffusion.export.card import model_card, records_of
from diffusion.export.table import FORMATS
from diffusion.files import write_text

MODEL, REPORTS = Path("models/denoiser.safetensors"), Path("reports")


def main(arguments: argparse.Namespace) -> None:
    """Export and write the card. Raises ValueError for a file that is no denoiser of this project, or a wrong --out."""
    out = arguments.out
    if not out.parent.is_dir() or out.is_file():
        raise ValueError(f"--out: {out} is not possible (allowed: a folder, or a new one in a folder that exists)")
    denoiser, description = load_denoiser(arguments.model, torch.device("cpu"), "fp32")
    records = records_of(arguments.model, arguments.reports)
    chosen = FORMATS[arguments.format]
    chosen.write(denoiser, description, out)
    write_text(out / "README.md", model_card(denoiser, description, records, chosen))
    if records is None:
        print(f"{out / 'README.md'} has no figures: {arguments.reports / 'train/model.json'} is not of this model")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="diffusion-export", description="Write a trained denoiser of pixels for other tools.")
    parser.add_argument("--model", type=Path, default=MODEL, help=f"weights of stage train (default {MODEL})")
    summaries = "; ".join(f"{name}: {row.summary}" for name, row in FORMATS.items())
    parser.add_argument("--format", choices=FORMATS, required=True, help=summaries)
    parser.add_argument("--out", type=Path, required=True, help="a folder; files in it are overwritten")
    parser.add_argument("--reports", type=Path, default=REPORTS, help=f"of the model's run (default {REPORTS})")
    return parser


def run() -> None:
    """The console script."""
    run_in_one_line(main, _parser())


if __name__ == "__main__":
    run()
