"""The command line: `python -m playground`, which writes the page that runs a trained denoiser in a browser."""

import argparse
import sys
from pathlib import Path

from playground.onnxruntime_web import installed
from playground.page import build


def main(arguments: argparse.Namespace) -> None:
    """Write the page and say how large it is. Raises ValueError and OSError as `build` does."""
    build(arguments.model, arguments.data, arguments.out, installed())
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB, for any browser, also without a network")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m playground", description="Write a page that runs a trained denoiser in the browser."
    )
    parser.add_argument(
        "--model", type=Path, default=Path("models/denoiser.safetensors"), help="weights of stage train (%(default)s)"
    )
    parser.add_argument("--data", type=Path, default=Path("data/processed"), help="the splits it was trained on")
    parser.add_argument("--out", type=Path, default=Path("reports/playground.html"), help="the page (%(default)s)")
    return parser


if __name__ == "__main__":
    try:
        main(_parser().parse_args())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
