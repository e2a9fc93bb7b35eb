"""Samples as files for other programs: a sheet, arrays, a film of the reverse process, or a folder of single images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from diffusion.data import GREY, save_sheet
from diffusion.files import whole_file

COLUMNS = 10  # of a sheet with a single label or prompt
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 60, 2000  # of a film
Writer = Callable[[Path, Tensor, Tensor, int], None]  # (--out, images, labels (N,), number of labels asked for)


def writer(out: Path) -> Writer:
    """What writes to --out. Raises ValueError for a suffix that says nothing, and where there is no folder for it."""
    if out.is_dir() or not out.suffix:
        write: Writer = write_folder
    elif out.suffix in WRITERS:
        write = WRITERS[out.suffix]
    else:
        raise ValueError(
            f"--out: {out.name!r} has an unknown suffix (allowed: {', '.join(WRITERS)}; a folder without one)"
        )
    if not out.parent.is_dir():
        raise ValueError(f"--out: {out.parent} is not a folder")
    if write is write_folder and out.is_file():
        raise ValueError(f"--out: {out} is a file (allowed: a folder, or a name ending in {', '.join(WRITERS)})")
    return write


def write_arrays(path: Path, images: Tensor, labels: Tensor, _: int) -> None:
    """`images` uint8 (N, H, W) or (N, H, W, C), `labels` int64 (N,)."""
    array = images.permute(0, 2, 3, 1).numpy()
    with whole_file(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, images=array[..., 0] if array.shape[-1] == 1 else array, labels=labels.numpy())


def write_sheet(path: Path, images: Tensor, _: Tensor, columns: int) -> None:
    """A PNG with a column for every label or prompt asked for."""
    save_sheet(path, images, min(columns if columns > 1 else COLUMNS, len(images)))


def write_folder(folder: Path, images: Tensor, labels: Tensor, _: int) -> None:
    """A PNG for every image, LABEL-INDEX.png with the label of the .npz file; the folder may be there already."""
    folder.mkdir(exist_ok=True)
    for k, label in enumerate(labels.tolist()):
        save_sheet(folder / f"{label}-{k:05}.png", images[k : k + 1], columns=1, scale=1)


def write_film(path: Path, films: Tensor, _: Tensor, columns: int) -> None:
    """An animation of sheets as `write_sheet` makes them, from films uint8 (N, F, C, H, W); its last frame stays."""
    from PIL import Image
    from torchvision.utils import make_grid

    columns = min(columns if columns > 1 else COLUMNS, len(films))
    sheets = [make_grid(frame, columns, padding=1, pad_value=GREY) for frame in films.transpose(0, 1)]
    scaled = [sheet.repeat_interleave(2, 1).repeat_interleave(2, 2).permute(1, 2, 0).numpy() for sheet in sheets]
    first, *others = map(Image.fromarray, scaled)
    milliseconds = [*[FRAME_MILLISECONDS] * len(others), LAST_FRAME_MILLISECONDS]
    with whole_file(path) as unfinished:
        first.save(
            unfinished,
            format=path.suffix.removeprefix("."),
            save_all=True,
            append_images=others,
            duration=milliseconds,
            loop=0,
        )


WRITERS: dict[str, Writer] = {
    ".npz": write_arrays,
    ".png": write_sheet,
    ".webp": write_film,
    ".gif": write_film,
}
