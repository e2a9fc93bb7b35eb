"""Every picture with words in it: one function draws one PNG. The only module that imports matplotlib.

Data come as pandas tables and numpy arrays (never tensors). Colours are those of Okabe and Ito (2008), which stay apart
for colour-blind readers; line styles and markers differ as well, so that a grey print can be read. The same data give
the same bytes: no dates, no versions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from diffusion.files import whole_file

DPI = 120
ROW_NAME_SIZE = 9.5
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7B3F00", "#000000")
LINES = ("-", (0, (5, 2)), "-.", (0, (1, 1.2)), (0, (7, 2, 1, 2, 1, 2)), "--", (0, (3, 1, 1, 1)), ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "*", "X")
FLOOR_COLOUR = "#5f6a72"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5f6a72",
    "axes.grid": True,
    "grid.color": "#e3e6e8",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
}
styled = matplotlib.rc_context(STYLE)
LABEL_OFFSETS = ((6, 6), (6, -14), (-18, 7), (6, 6), (-18, -14))


@styled
def schedule_curves(
    path: Path, tables: Mapping[str, pd.DataFrame], column: str, label: str, log_scale: bool = False
) -> None:
    """One column of several schedules (tables with `t` and that column) against t on shared axes."""
    figure, axes = _figure(7.6, 4.2)
    for index, (name, table) in enumerate(tables.items()):
        axes.plot(table["t"], table[column], label=name, **_line(index))
    axes.set(xlabel="t (0 = clean image)", ylabel=label)
    if log_scale:
        axes.set_yscale("log")
    axes.legend()
    _save(figure, path)


@styled
def picture_grid(
    path: Path,
    images: np.ndarray,
    columns: Sequence[str],
    rows: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
) -> None:
    """Pictures (R, K, H, W) or (R, K, H, W, 3), uint8, with a heading per column, a name per row and a note under each.

    The forward process is one row of these, two schedules on the same digit are two.
    """
    num_rows, num_columns = images.shape[:2]
    size = (1.35 * num_columns + (0.4 if rows else 0.1), 1.68 * num_rows + 0.4)
    figure, grid = plt.subplots(num_rows, num_columns, figsize=size, squeeze=False)
    for row, column in np.ndindex(num_rows, num_columns):
        axes = grid[row, column]
        _bare_picture(axes, images[row, column])
        axes.set_xlabel(notes[row][column] if notes else "", fontsize=9)
        axes.set_title(columns[column] if row == 0 else "", fontsize=9.5, loc="center")
        axes.set_ylabel(rows[row] if rows and column == 0 else "")
    _save(figure, path)


@styled
def recognisability(path: Path, table: pd.DataFrame, chance: float) -> None:
    """Accuracy of the judge of noised images from `schedule, t, log_snr, accuracy`.

    Against t every schedule has its curve; against log-SNR there is only one, as x_t depends on alpha_bar alone.
    """
    figure, (by_time, by_noise) = _figure(10.2, 4.1, columns=2, sharey=True)
    for index, (name, rows) in enumerate(table.groupby("schedule", sort=False)):
        marks = {"marker": MARKERS[index % len(MARKERS)], "markersize": 4, "markevery": max(1, len(rows) // 9)}
        by_time.plot(rows["t"], rows["accuracy"], label=name, **_line(index), **marks)
    curve = table.drop_duplicates("log_snr").sort_values("log_snr")
    by_noise.plot(curve["log_snr"], curve["accuracy"], color=COLOURS[-1], marker="o", markersize=4)
    for axes in (by_time, by_noise):
        axes.axhline(0.5, color=FLOOR_COLOUR, linewidth=1)
        axes.axhline(chance, color=FLOOR_COLOUR, linewidth=1, linestyle=":")
    by_time.set(xlabel="t", ylabel="accuracy on noised test images", ylim=(0, 1.02))
    by_noise.set(xlabel="log-SNR (natural log; noise grows to the right)")
    by_noise.invert_xaxis()
    by_noise.text(0.01, 0.515, "half are read right", transform=by_noise.get_yaxis_transform(), color=FLOOR_COLOUR)
    by_noise.text(0.01, chance + 0.015, "chance", transform=by_noise.get_yaxis_transform(), color=FLOOR_COLOUR)
    by_time.yaxis.set_major_formatter(PercentFormatter(1))
    by_time.legend(loc="lower left", bbox_to_anchor=(0, chance + 0.02))
    _save(figure, path)


@styled
def training_loss(path: Path, history: pd.DataFrame, label: str) -> None:
    """Training loss against the step on a logarithmic axis, from `step, loss`."""
    figure, axes = _figure(4.8, 3.5)
    axes.plot(history["step"], history["loss"], color=COLOURS[0], linewidth=1.4)
    axes.set(xlabel="training step", ylabel=label, yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_short_number))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _save(figure, path)


@styled
def speed_quality(path: Path, panels: Sequence[tuple[str, pd.DataFrame, tuple[float, float]]], images: int) -> None:
    """Seconds for `images` images (log) against quality, a panel per measure: (label, table, (floor mean, floor std)).

    Tables hold `sampler` (label), `calls`, `seconds`, `value`, `error` (NaN or 0 where there is none): lower is better.
    """
    figure, grid = _figure(7.6 if len(panels) == 1 else 5.1 * len(panels), 4.3, columns=len(panels))
    series = list(dict.fromkeys(name for _, table, _ in panels for name in table["sampler"]))
    for axes, (label, table, floor) in zip(np.atleast_1d(grid), panels, strict=True):
        _floor(axes, *floor)
        for name, rows in table.groupby("sampler", sort=False):
            _points(axes, rows["seconds"], rows, name, series.index(name))
            _numbers(axes, rows["seconds"], rows, series.index(name))
        axes.set(xlabel=f"seconds for {images} images", ylabel=label, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(_short_number))
        axes.minorticks_off()
    np.atleast_1d(grid)[-1].legend()
    _save(figure, path)


@styled
def quality_by_calls(path: Path, panels: Sequence[tuple[str, pd.DataFrame, tuple[float, float]]]) -> None:
    """Network calls per image (log) against quality, a panel per measure: (label, table, (floor mean, floor std)).

    Tables hold `sampler` (label), `calls`, `value`, `error` (NaN or 0 where there is none).
    """
    figure, grid = _figure(7.6 if len(panels) == 1 else 4.6 * len(panels), 4.1, columns=len(panels))
    for axes, (label, table, floor) in zip(np.atleast_1d(grid), panels, strict=True):
        _floor(axes, *floor)
        for index, (name, rows) in enumerate(table.groupby("sampler", sort=False)):
            _points(axes, rows["calls"], rows, name, index)
        axes.set(xlabel="network calls per image", ylabel=label, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda calls, _: f"{calls:,.0f}"))
        axes.minorticks_off()
    if len(panels) == 1:
        axes.legend()
    else:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    _save(figure, path)


@styled
def fidelity_coverage(path: Path, table: pd.DataFrame, floor: Mapping[str, float | None]) -> None:
    """Guidance as a path through fidelity (class accuracy, precision) against coverage, from one row per `scale`."""
    figure, axes = _figure(7.0, 4.6)
    for index, (measure, label) in enumerate((("accuracy", "class accuracy"), ("precision", "precision"))):
        rows = table[table["scale"] > 0] if measure == "accuracy" else table  # w = 0 asks for no class
        rows = rows.dropna(subset=[measure, "coverage"])
        axes.plot(rows["coverage"], rows[measure], label=label, marker=MARKERS[index], **_line(index))
        for scale, x, y in zip(rows["scale"], rows["coverage"], rows[measure], strict=True):
            axes.annotate(
                f"w = {scale:g}", (x, y), (5, 6 if index == 0 else -13), textcoords="offset points", fontsize=9
            )
    if floor["coverage"] is not None:
        star = {"marker": "*", "markersize": 13, "color": FLOOR_COLOUR, "linestyle": "none"}
        axes.plot(floor["coverage"], floor["precision"], label="real images (precision)", **star)
    axes.set(xlabel="coverage (share of real images with a sample near them)", ylabel="fidelity")
    axes.margins(0.12)
    axes.legend(loc="best")
    _save(figure, path)


@styled
def fidelity_by_limit(path: Path, table: pd.DataFrame) -> None:
    """Class accuracy against coverage, a line per `limit` of guidance with its `scale` along it."""
    figure, axes = _figure(7.0, 4.6)
    for index, (limit, rows) in enumerate(table.groupby("limit", sort=False)):
        axes.plot(rows["coverage"], rows["accuracy"], label=limit, marker=MARKERS[index], **_line(index))
    points = table.drop_duplicates(["scale", "coverage", "accuracy"])  # lines may start from a common one
    for index, (_, rows) in enumerate(points.groupby("limit", sort=False)):
        for scale, *point in rows[["scale", "coverage", "accuracy"]].itertuples(index=False):
            axes.annotate(f"w = {scale:g}", point, (-8, (8, -16, 20)[index]), textcoords="offset points", fontsize=9)
    axes.set(xlabel="coverage (share of real images with a sample near them)", ylabel="class accuracy")
    axes.margins(0.12)
    axes.legend(loc="best", title="guided, w along the line")
    _save(figure, path)


@styled
def measures_by_scale(path: Path, table: pd.DataFrame, measures: Mapping[str, str]) -> None:
    """Several columns of a table (`{column: label}`) against the guidance `scale`, each on the same axis from 0."""
    figure, axes = _figure(7.0, 4.2)
    for index, (column, label) in enumerate(measures.items()):
        axes.plot(table["scale"], table[column], label=label, marker=MARKERS[index], **_line(index))
    axes.axhline(1, color=FLOOR_COLOUR, linewidth=1)
    axes.set(xlabel="guidance scale w", ylabel="share, or ratio to real images", xticks=list(table["scale"]))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda scale, _: f"{scale:g}"))
    axes.legend()
    _save(figure, path)


@styled
def confusions(path: Path, matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Confusion matrices (classes, classes) of counts side by side, rows = actual, shaded by the share of the row."""
    columns = 2 if len(matrices) in (2, 4) else min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    figure, grid = _figure(4.4 * columns, 4.5 * rows, columns, rows)
    small = len(class_names) <= 12
    for axes in np.ravel(grid)[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, counts) in zip(np.ravel(grid), matrices.items(), strict=False):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(counts) if small else ():
            colour = "white" if shares[row, column] > 0.6 else "#30383e"
            axes.text(column, row, f"{count:g}" if count else "", ha="center", va="center", fontsize=8, color=colour)
        ticks = range(len(class_names))
        axes.set_xticks(ticks, class_names, fontsize=8, rotation=0 if max(map(len, class_names)) < 3 else 60)
        axes.set_yticks(ticks, class_names, fontsize=8)
        axes.set(title=title, xlabel="read as", ylabel="class")
        axes.grid(False)
    _save(figure, path)


@styled
def labelled_sheet(path: Path, sheet: Path, rows: Sequence[str], columns: Sequence[str] = ()) -> None:
    """A bare sheet of pictures (PNG) with a name beside every row and above every column, pixel for pixel."""
    picture = plt.imread(sheet)
    height, width = picture.shape[:2]
    left, top = 16 + max(map(_text_pixels, rows), default=-10), 28 if columns else 6
    whole = (width + left + 6, height + top + 6)
    figure = plt.figure(figsize=(whole[0] / DPI, whole[1] / DPI), layout="none")
    axes = figure.add_axes((left / whole[0], 6 / whole[1], width / whole[0], height / whole[1]))
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for index, name in enumerate(rows):
        at = 1 - (index + 0.5) / len(rows)
        axes.text(-8 / width, at, name, ha="right", va="center", transform=axes.transAxes, fontsize=ROW_NAME_SIZE)
    for index, name in enumerate(columns):
        at = (index + 0.5) / len(columns)
        axes.text(at, 1 + 6 / height, name, ha="center", va="bottom", transform=axes.transAxes, fontsize=9)
    _save(figure, path)


def _figure(
    width: float, height: float, columns: int = 1, rows: int = 1, sharey: bool = False
) -> tuple[Figure, Axes | np.ndarray]:
    return plt.subplots(rows, columns, figsize=(width, height), sharey=sharey)


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    plt.close(figure)


def _line(index: int) -> dict[str, object]:
    """Colour, dashes and width of the index-th line: later lines are thinner, so that equal curves are both seen."""
    dashes, colour = LINES[index % len(LINES)], COLOURS[index % len(COLOURS)]
    return {"color": colour, "linestyle": dashes, "linewidth": max(1.4, 3.0 - 0.5 * index)}


def _points(axes: Axes, x: pd.Series, rows: pd.DataFrame, name: str, index: int) -> None:
    style = {"marker": MARKERS[index % len(MARKERS)], "color": COLOURS[index % len(COLOURS)], "markersize": 7}
    errors, dashes = rows["error"].fillna(0), LINES[index % len(LINES)]
    axes.errorbar(x, rows["value"], yerr=errors, label=name, linewidth=1.1, linestyle=dashes, **style)


def _numbers(axes: Axes, x: pd.Series, rows: pd.DataFrame, index: int) -> None:
    offset = LABEL_OFFSETS[index % len(LABEL_OFFSETS)]
    for at, value, calls in zip(x, rows["value"], rows["calls"], strict=True):
        axes.annotate(f"{calls:,}", (at, value), offset, textcoords="offset points", fontsize=8.5)


def _floor(axes: Axes, mean: float | None, std: float) -> None:
    if mean is None:  # too few samples for this measure
        return
    axes.axhline(mean, color=FLOOR_COLOUR, linewidth=1.2)
    axes.axhspan(mean - std, mean + std, color=FLOOR_COLOUR, alpha=0.15, linewidth=0)
    axes.text(
        0.99, mean, "real images ", transform=axes.get_yaxis_transform(), ha="right", va="bottom", color=FLOOR_COLOUR
    )


def _bare_picture(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _text_pixels(text: str) -> int:
    return round(TextPath((0, 0), text, size=ROW_NAME_SIZE).get_extents().width * DPI / 72)


def _short_number(value: float, _position: int) -> str:
    return f"{value:,.3g}"
