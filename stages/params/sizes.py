"""What follows from the size of the images, where a param is `auto`."""

from collections.abc import Callable
from typing import Any

from diffusion.choices import DATA_SETS

AUTO = "auto"
COARSEST = 8  # sides above it are halved once more, if they are even
WIDTHS = (32, 64, 128, 256, 256, 256, 256, 256)  # of networks on pixels, from the finest resolution to the coarsest
PATCHES = {4: 128, 2: 16}  # side of a patch, and of the images from which on pixels are folded by it
TOKENS = {4: 28, 2: 14}  # the same for a transformer, whose cost follows the number of patches


def sized(content: Any) -> Any:
    """Params, not validated yet, with a value in place of every `auto` that stands for one of `SIZES`.

    Where the size is not known, since params are wrong, they are returned as they are.
    """
    size = _image_size(content)
    if size is None:
        return content
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for (section, key), value_of in SIZES.items():
        params = content.get(section)
        if isinstance(params, dict) and params.get(key) == AUTO:
            params[key] = value_of(content, section, size)
    return content


def patch(size: int, table: dict[int, int] = PATCHES) -> int:
    """The side of the patches that pixels are folded by, for images of this side."""
    return next((side for side, least in table.items() if size >= least and size % side == 0), 1)


def widths(side: int, least: int = 1) -> list[int]:
    """One width for every resolution of a U-Net whose finest has this side; the coarsest is at most 8, if it can be."""
    levels = 1
    while side % 2 == 0 and (side > COARSEST or levels < least):
        side, levels = side // 2, levels + 1
    return list(WIDTHS[:levels])


def _image_size(content: Any) -> int | None:
    data = content.get("data") if isinstance(content, dict) else None
    name = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(name, str) or name not in DATA_SETS:
        return None
    size = DATA_SETS[name].image_size or data.get("image_size")
    return size if type(size) is int and size > 0 else None


def _patch(content: Any, section: str, size: int) -> int:
    return patch(size, TOKENS if content[section].get("kind") == "dit" else PATCHES)


def _widths(content: Any, section: str, size: int) -> list[int]:
    folded = content[section].get("patch")
    return widths(size // folded, least=2) if type(folded) is int and folded > 0 else []


def _coder_widths(content: Any, section: str, size: int) -> list[int]:
    """Of the autoencoder, whose finest resolution is at half the image's side."""
    return widths(size, least=2)[:-1] or [WIDTHS[0]]


def _latent_widths(content: Any, section: str, size: int) -> list[int]:
    """As wide from the start as a network on pixels is at its coarsest."""
    autoencoder = content.get("autoencoder")
    halvings = autoencoder.get("channels") if isinstance(autoencoder, dict) else None
    side = size // 2 ** len(halvings) if isinstance(halvings, list) else COARSEST
    return [2 * width for width in widths(side)]


SIZES: dict[tuple[str, str], Callable[[Any, str, int], int | list[int]]] = {
    ("model", "patch"): _patch,
    ("model", "channels"): _widths,
    ("autoencoder", "channels"): _coder_widths,
    ("latent", "channels"): _latent_widths,
    ("vae", "patch"): _patch,
    ("vae", "channels"): _widths,
    ("gan", "patch"): _patch,
    ("gan", "channels"): _widths,
}
