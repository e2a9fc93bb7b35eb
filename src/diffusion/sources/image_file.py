"""An image file as a small square: upright, 8 bits a channel, transparency laid over white.

Files come from outside: each is refused before it takes much memory, and a large photograph is decoded at the scale
that is needed.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from diffusion.names import shown
from diffusion.sources.checks import refuse_large

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MODES = {1: "L", 3: "RGB"}  # of Pillow, by the number of channels
MAX_PIXELS = 2**26  # above the 50 megapixels of photographs: 832 MiB while transparency is laid over white
DRAFT = 2  # a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is still so many times the size that is needed
LARGE_BYTES = 2**26  # images that take more are decoded one at a time, in whatever lane
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
OTHER_FORMATS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF"}

_one_large = Lock()


def read_image(path: Path, image_size: int, channels: int) -> Tensor:
    """The largest centred square of an image, resized with antialiasing: uint8 (C, image_size, image_size).

    16 bits a channel are read by the upper eight. Raises ValueError, one line, for what is no image that can be read.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{shown(path)}: a link or a folder (allowed: image files)")
    try:
        refuse_large(path)
        with Image.open(path, formats=FORMATS) as image, _turn(image, DRAFT * image_size, MODES[channels]):
            ImageOps.exif_transpose(image, in_place=True)
            square = _over_white(_centred_square(_of_8_bits(image)))
            if square.mode != MODES[channels]:
                square = square.convert(MODES[channels])
            pixels = np.array(square.resize((image_size, image_size), Image.Resampling.BICUBIC))
    except Exception as error:  # what a decoder raises on a broken file is not a closed list
        reason = _other_format(path) or " ".join(str(error).split())
        raise ValueError(shown(f"{path}: not an image that can be read ({reason})")) from error
    return torch.from_numpy(pixels).view(image_size, image_size, channels).permute(2, 0, 1)


def _turn(image: Image.Image, needed: int, mode: str) -> AbstractContextManager[object]:
    """What to wait for before an opened image is decoded, now at the smallest scale with `needed` pixels a side."""
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels (allowed: up to {MAX_PIXELS:,})")
    if image.mode.startswith(("I", "F")) and not image.mode.startswith("I;16") and image.format != "PPM":
        raise ValueError(f"mode {image.mode} (allowed: 8 or 16 bits per channel)")
    image.draft(mode, (needed, needed))
    needed_bytes = 4 * image.width * image.height
    if "progressive" in image.info:  # a JPEG whose coefficients are all there before the first pixel is
        needed_bytes += 6 * pixels
    return _one_large if needed_bytes > LARGE_BYTES else nullcontext()


def _of_8_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits of grey by its upper eight, as Pillow itself reads colour; others as they are."""
    if not image.mode.startswith("I"):
        return image
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else grey)


def _centred_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image if image.size == (side, side) else image.crop((left, top, left + side, top + side))


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    colours = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(colours, (0, 0), colours)
    return white


def _other_format(path: Path) -> str | None:
    """How to convert a file of a format that Pillow alone does not read; None for all else."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    name = OTHER_FORMATS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    return name and f"{name}: convert it to JPEG first, as by ImageMagick: magick mogrify -format jpg *.{name.lower()}"
