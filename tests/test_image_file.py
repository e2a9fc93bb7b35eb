"""One image file: resized, cropped and turned as it should be, at any depth, size and lane."""

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.load import peak_memory
from diffusion.sources import image_file
from diffusion.sources.image_file import DRAFT, read_image

MEBI = 2**20
SIDES = st.integers(1, 70)
draw = np.random.default_rng(0)


def smooth(width, height):
    """A colour image without sharp edges, (H, W, 3) uint8, the same each time."""
    coarse = np.random.default_rng([width, height]).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


def read(folder, pixels, image_size=16, channels=3, kind="PNG", **options):
    """An array as it is read back from a file of this kind, (H, W, C) int."""
    path = folder / f"a.{kind}"
    Image.fromarray(pixels).save(path, kind, **options)
    return read_image(path, image_size, channels).permute(1, 2, 0).numpy().astype(int)


# resizing


@given(SIDES, SIDES, st.integers(1, 40), st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=60, deadline=None)
def test_an_image_of_one_colour_keeps_it(folder, width, height, size, colour):
    found = read(folder, np.full((height, width, 3), colour, np.uint8), size)
    assert found.shape == (size, size, 3) and (found == colour).all()


@given(st.integers(20, 70), st.integers(4, 16))
@settings(max_examples=30, deadline=None)
def test_the_mean_of_a_square_stays(folder, side, size):
    pixels = smooth(side, side)
    assert np.abs(read(folder, pixels, size).mean((0, 1)) - pixels.mean((0, 1))).max() < 3


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_only_the_centred_square_matters(folder, size, margin):
    """What lies beside it may be anything, also at the edge of the square."""
    inside = draw.integers(0, 256, (size, size, 3), dtype=np.uint8)
    wide = draw.integers(0, 256, (size, size + margin, 3), dtype=np.uint8)
    wide[:, margin // 2 : margin // 2 + size] = inside
    assert (read(folder, wide, size) == inside).all()
    assert (read(folder, wide.swapaxes(0, 1).copy(), size) == inside.swapaxes(0, 1)).all()


def test_a_mirrored_image_is_read_as_a_mirrored_image(folder):
    pixels = smooth(48, 48)
    assert np.abs(read(folder, pixels[:, ::-1].copy()) - read(folder, pixels)[:, ::-1]).max() <= 1


TURNS = {  # EXIF's orientation, and how the file holds an upright image
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("kind", "off"), [("PNG", 0), ("TIFF", 0), ("JPEG", 8)])
def test_every_orientation_is_turned_upright(folder, orientation, kind, off):
    upright = smooth(30, 20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = np.ascontiguousarray(TURNS[orientation](upright))
    best = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = read(folder, held, 20, kind=kind, exif=exif, **best)
    assert np.abs(found - upright[:, 5:25]).max() <= off  # what JPEG loses


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("size", "off"), [((1024, 768), 0.5), ((1001, 701), 5)])
def test_a_photograph_decoded_small_is_the_photograph(folder, size, off, channels, progressive):
    """Sizes that are no multiple of 8 are rounded up, by half a percent here."""
    pixels = smooth(*size)
    small = read(folder, pixels, 32, channels, "JPEG", quality=95, progressive=progressive)
    left, side = (size[0] - size[1]) // 2, size[1]
    whole = Image.fromarray(pixels).convert(image_file.MODES[channels]).crop((left, 0, left + side, side))
    expected = np.array(whole.resize((32, 32), Image.Resampling.BICUBIC)).reshape(32, 32, channels)
    assert np.abs(small - expected).mean() < off


# 16 bits


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_grey_of_8_bits(folder, kind):
    """Pillow by itself makes everything above 255 white."""
    grey = smooth(16, 16)[:, :, 0]
    for low in (0, 255):
        found = read(folder, grey.astype(np.uint16) * 256 + low, 16, 1, kind)
        assert (found[:, :, 0] == grey).all(), low


def png_of_16_bits(pixels):
    """A PNG of 16 bits a channel, which Pillow does not write, from (H, W, C) uint16."""
    height, width, channels = pixels.shape

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_of_png_of_16_bits_is_read_like_8_bits(folder, channels):
    """Grey and colour, with and without transparency, by one rule."""
    eight = smooth(16, 16)[:, :, [0, 1, 2, 0]][:, :, : max(channels, 1)]
    if channels in (2, 4):
        eight[:, :, -1] = 255
    (folder / "16.png").write_bytes(png_of_16_bits(eight.astype(np.uint16) * 256 + 200))
    found = read_image(folder / "16.png", 16, 3).permute(1, 2, 0).numpy()
    colour = eight[:, :, :1].repeat(3, 2) if channels < 3 else eight[:, :, :3]
    assert (found == colour).all()


def tiff_of_grey(values, bits, photometric):
    """An uncompressed little-endian TIFF of one channel, from packed bytes, 16x16."""
    tags = [(256, 16), (257, 16), (258, bits), (259, 1), (262, photometric), (273, 122), (277, 1), (278, 16)]
    tags.append((279, len(values)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + values


def test_tiff_of_12_bits_and_of_inverted_grey_are_told_apart(folder):
    grey = smooth(16, 16)[:, :, 0].astype(int)
    first, second = grey.reshape(-1, 2).T
    packed = np.stack([first, second >> 4, (second & 15) << 4], 1)  # 12 bits: first 8 of one, 4 of zero and 4, 4 and 4
    cases = {
        "12 bits": tiff_of_grey(packed.astype(np.uint8).tobytes(), 12, 1),
        "16 bits": tiff_of_grey((grey * 257).astype("<u2").tobytes(), 16, 1),
        "white is zero": tiff_of_grey((65535 - grey * 257).astype("<u2").tobytes(), 16, 0),
    }
    for name, content in cases.items():
        (folder / "a.tiff").write_bytes(content)
        assert (read_image(folder / "a.tiff", 16, 1)[0].numpy() == grey).all(), name


# memory


def test_a_photograph_of_48_megapixels_takes_little_memory(folder):
    Image.new("RGB", (8064, 6048), (10, 200, 30)).save(folder / "large.jpg", "JPEG")
    with peak_memory() as peak:
        found = read_image(folder / "large.jpg", 64, 3)
    assert peak[0] < 32 * MEBI
    assert np.abs(found.numpy().mean((1, 2)) - [10, 200, 30]).max() <= 2


@pytest.mark.parametrize(("kind", "size", "alone"), [("PNG", 5000, True), ("PNG", 900, False), ("JPEG", 5000, False)])
def test_only_images_that_take_much_memory_wait_for_each_other(folder, monkeypatch, kind, size, alone):
    lock = threading.Lock()
    waited = []

    class Watched:
        def __enter__(self):
            waited.append(lock.acquire())

        def __exit__(self, *_):
            lock.release()

    monkeypatch.setattr(image_file, "_one_large", Watched())
    Image.new("L", (size, size)).save(folder / f"wait.{kind}", kind)
    read_image(folder / f"wait.{kind}", 8, 1)
    assert bool(waited) == alone


def test_a_jpeg_is_never_decoded_smaller_than_it_is_needed(folder, monkeypatch):
    asked = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, *args: asked.append(image.size) or resize(image, *args))
    for width in (40, 65, 127, 128, 300, 513):
        read(folder, np.zeros((width, width, 3), np.uint8), 32, kind="JPEG")
    assert asked == [(side, side) for side in (40, 65, 127, 64, 75, 65)]
    assert DRAFT == 2


# other formats


@pytest.mark.parametrize(("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_what_pillow_cannot_read_is_told_with_how_to_convert_it(folder, brand, name):
    path = folder / "IMG_0001.HEIC"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(200))
    with pytest.raises(ValueError, match=rf"IMG_0001.HEIC: .*{name}: convert it to JPEG.* magick ") as caught:
        read_image(path, 8, 3)
    assert "\n" not in str(caught.value)


def test_a_format_is_known_by_its_content_and_not_by_its_name(folder):
    content = io.BytesIO()
    Image.new("RGB", (9, 9), "white").save(content, "JPEG")
    (folder / "photo.heic").write_bytes(content.getvalue())
    assert read_image(folder / "photo.heic", 8, 1).min() > 250
