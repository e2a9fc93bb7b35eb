"""The spine in DVC's own views: the verdict, the curves of the exercises, and the reverse process frame by frame."""

import numpy as np
import pandas as pd

from diffusion.choices import SCHEDULES
from report.reading import Reports
from report.spine.recommended import recommended
from report.spine.samplers import film_rows, joined, tradeoff
from report.views import Plot, Views

CURVES = ("alpha_bar", "log_snr")
CURVE_POINTS = 200
FRAME_SCALE, FRAME_CLASSES = 2, 10


def figures(reports: Reports) -> dict[str, float | None]:
    """The verdict on the samples at w = 1, and how many are recognised in the recommended setting."""
    verdict = reports.record("evaluate/metrics.json")
    distance = {"kid": verdict["kid"]["mean"]} if verdict["fid"] is None else {"fid": verdict["fid"]}
    measured = {name: verdict[name] for name in ("accuracy", "coverage")}
    return {**distance, **measured, "recommended_accuracy": recommended(reports)["accuracy"]}


def plots(reports: Reports) -> dict[str, Plot]:
    """Curves of all schedules and of what can be recognised, quality by network evaluations, judgements, the film."""
    return {
        **{column: schedule_curves(reports, column) for column in CURVES},
        "recognisability": recognisability(reports.table("schedules/recognisability.csv")),
        **{f"quality/{sampler}": rows for sampler, rows in quality(reports)},
        "confusion": judgements(reports.table("evaluate/confusion.csv")),
        **{f"film/{number:02}": frame for number, frame in enumerate(film(reports))},
    }


def schedule_curves(reports: Reports, column: str) -> pd.DataFrame:
    """A column of t, then one for every schedule that was compared; rows where all are finite."""
    names = [name for name in SCHEDULES if f"schedules/{name}.csv" in reports]
    tables = {name: reports.table(f"schedules/{name}.csv").set_index("t")[column] for name in names}
    curves = pd.DataFrame(tables).replace([np.inf, -np.inf], np.nan).dropna()
    return curves.iloc[:: max(1, len(curves) // CURVE_POINTS)].reset_index()


def recognisability(rows: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of the judge of noised images by log-SNR, on which alone it depends."""
    return rows.drop_duplicates("log_snr")[["log_snr", "accuracy"]].sort_values("log_snr")


def quality(reports: Reports) -> list[tuple[str, pd.DataFrame]]:
    """A table of network evaluations and FID (KID where no sampler has an FID) for every sampler; DDIM's is eta = 0."""
    panel = tradeoff(joined(reports), reports.record("evaluate/metrics.json"))
    rows = panel.table[panel.table["value"].notna() & panel.table["eta"].fillna(0).eq(0)].sort_values("calls")
    named = rows.rename(columns={"value": "distance"})
    return [(str(sampler), of_one[["calls", "distance"]]) for sampler, of_one in named.groupby("sampler", sort=False)]


def judgements(confusion: pd.DataFrame) -> pd.DataFrame:
    """A row for every sample: DVC's template of confusion matrices counts rows."""
    return confusion.loc[confusion.index.repeat(confusion["count"]), ["actual", "predicted"]]


def film(reports: Reports) -> list[np.ndarray]:
    """The frames of the reverse process: x_t of the first classes above the x_0 that the network sees in it."""
    columns = len(reports.table("evaluate/film.csv"))
    names = [f"evaluate/film_{name}.png" for name in ("x_t", "x_0")]
    sheets = [reports.tiles(name, film_rows(reports, name, columns), columns) for name in names]
    return [_frame([sheet[:FRAME_CLASSES, column] for sheet in sheets]) for column in range(columns)]


def _frame(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of tiles (K, H, W) or (K, H, W, 3) as one picture."""
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    return picture.repeat(FRAME_SCALE, axis=0).repeat(FRAME_SCALE, axis=1)


VIEWS = Views(figures, plots)
