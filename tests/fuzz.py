"""Bad files without end: `python tests/fuzz.py FOLDER` generates them, reads them, and prints what came of it as JSON.

Every file is either read or refused by one line that names it. Anything else ends the process with a traceback.
"""

import contextlib
import copy
import gzip
import io
import json
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from test_failures import write_model

from benchmarks.load import peak_memory
from diffusion.denoiser import load_denoiser
from diffusion.randomness import generator_for
from diffusion.sources.splits import load_splits
from diffusion.tensors import load_tensors

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FORMATS = (("PNG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("BMP", "RGB"), ("GIF", "P"))
FORMATS += (("TIFF", "RGB"), ("WEBP", "RGB"), ("PPM", "L"))
GIBI_OF_ZEROS = gzip.compress(bytes(2**24)) * 64  # a gzip file may have several members
CPU = torch.device("cpu")


def idx(*sizes):
    """An IDX file of bytes that count up to 9."""
    tensor = torch.arange(torch.Size(sizes).numel(), dtype=torch.uint8) % 10
    return struct.pack(f">{1 + len(sizes)}I", 0x800 + len(sizes), *sizes) + tensor.numpy().tobytes()


def write_idx_folder(root):
    """A small MNIST in `root`; returns the folder of its files."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, sizes in zip(IDX_NAMES, ((20, 5, 4), (20,), (20, 5, 4), (20,)), strict=True):
        (raw / name).write_bytes(idx(*sizes))
    return raw


def load_idx(root):
    return load_splits("mnist", root, generator_for(0, "split"))


def load_folder(root):
    return load_splits("folder", root, generator_for(0, "split"), image_size=8)


def image_of(kind, mode, size=(9, 9)):
    """The bytes of an image in which a diagonal stands out."""
    image, content = Image.new("L", size), io.BytesIO()
    for k in range(min(size)):
        image.putpixel((k, k), 20 * k % 256)
    image.convert(mode).save(content, format=kind)
    return content.getvalue()


def png_of(width, height, colours=0, pixels=b""):
    """A PNG file with these sizes in its header, whatever there is of pixels, and all checksums right."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels, 1)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@st.composite
def damaged(draw, whole):
    """A file of which up to three stretches are overwritten, left out or longer; mostly near its start, the header."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, min(64, len(content))) | st.integers(0, len(content)))
        end = draw(st.integers(start, min(start + 8, len(content))) | st.just(len(content)))
        content[start:end] = draw(st.binary(max_size=8))
    return bytes(content)


SIZES = st.integers(0, 30) | st.integers(0, 2**32 - 1)
IDX_FILES = (
    damaged(idx(20, 5, 4))
    | st.tuples(st.sampled_from([0x803, 0x801, 0xD03]), SIZES, SIZES, SIZES).map(
        lambda header: struct.pack(">4I", *header) + bytes(400)
    )
    | st.binary(max_size=64)
)
PACKED_FILES = (
    IDX_FILES.map(gzip.compress)
    | damaged(gzip.compress(idx(20, 5, 4)))
    | st.tuples(SIZES, SIZES).map(
        lambda sizes: gzip.compress(struct.pack(">4I", 0x803, 2, *sizes)) + GIBI_OF_ZEROS,
    )
)
IMAGE_FILES = (
    st.sampled_from([image_of(*kind) for kind in FORMATS]).flatmap(damaged)
    | st.builds(png_of, SIZES, SIZES, st.sampled_from([0, 2, 3, 4, 6]), st.binary(max_size=64))
    | st.binary(max_size=64)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-2, 40) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def described(change):
    """Weights with a description in which one value is another."""
    (*sections, key), value = change
    tensors, description = WEIGHTS[0], copy.deepcopy(WEIGHTS[1])
    section = description
    for name in sections:
        section = section[name]
    section[key] = value
    return save(tensors, {"description": json.dumps(description)})


def with_header(change):
    """Weights with a header in which one tensor is described another way."""
    name, key, value = change
    content = save(WEIGHTS[0], {"description": json.dumps(WEIGHTS[1])})
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header[name][key] = value
    new = json.dumps(header).encode()
    return len(new).to_bytes(8, "little") + new + content[8 + length :]


def with_value(change):
    """Weights of which one is another."""
    name, value = change
    tensors = {k: tensor.clone() for k, tensor in WEIGHTS[0].items()}
    tensors[name].view(-1)[0] = value
    return save(tensors, {"description": json.dumps(WEIGHTS[1])})


def weight_files():
    """Damaged files of weights; `WEIGHTS` must be there."""
    tensors, description = WEIGHTS
    names, keys = st.sampled_from(sorted(tensors)), st.sampled_from(["dtype", "shape", "data_offsets"])
    places = [(key,) for key in description] + [("net", key) for key in description["net"]]
    types = st.sampled_from(["F64", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "U16", "C64"])
    sizes = st.lists(st.integers(-1, 2**64), max_size=4)
    return (
        damaged(save(tensors, {"description": json.dumps(description)}))
        | st.tuples(st.sampled_from(places), VALUES).map(described)
        | st.tuples(names, keys, types | sizes | VALUES).map(with_header)
        | st.tuples(names, st.sampled_from([float("nan"), float("inf"), -float("inf")])).map(with_value)
        | st.integers(0, 2**64 - 1).map(lambda length: length.to_bytes(8, "little") + bytes(64))
    )


def read_all(path, contents, number, read):
    """Write and read `number` such files; returns how many are refused."""
    outcomes = Counter()

    @settings(max_examples=number, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck])
    @given(contents)
    def one(content):
        path.write_bytes(content)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                read()
            outcomes["read"] += 1
        except ValueError as error:
            line = str(error)
            assert str(path) in line or line.startswith("data.root: "), line
            assert line.isprintable() and len(line) < 600, line
            outcomes["refused"] += 1

    one()
    return outcomes["refused"]


def main(root):
    """All kinds, in `root`."""
    raw = write_idx_folder(root)
    for name in ("cat", "dog"):
        (root / "pets" / name).mkdir(parents=True)
        for k in range(2):
            (root / "pets" / name / f"{k}.png").write_bytes(image_of("PNG", "L"))
    weights, whole = root / "weights.safetensors", root / "whole.safetensors"
    write_model(whole)
    WEIGHTS[:] = load_tensors(whole)  # which may stay in the file
    with peak_memory() as peak:
        refused = {
            "idx": read_all(raw / IDX_NAMES[0], IDX_FILES, 100, lambda: load_idx(root)),
            "image": read_all(root / "pets/cat/0.png", IMAGE_FILES, 200, lambda: load_folder(root / "pets")),
            "weights": read_all(weights, weight_files(), 200, lambda: load_denoiser(weights, CPU, "fp32")),
        }
        (raw / IDX_NAMES[0]).unlink()
        refused["gz"] = read_all(raw / f"{IDX_NAMES[0]}.gz", PACKED_FILES, 100, lambda: load_idx(root))
    sys.stdout.write(json.dumps({"refused": refused, "peak": peak[0]}))


WEIGHTS = []  # tensors and description of a small model

if __name__ == "__main__":
    main(Path(sys.argv[1]))
