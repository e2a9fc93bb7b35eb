"""What a page rests on: params, versions and machines of its stages."""

from collections.abc import Callable, Sequence
from typing import Any

from report.content import Block, Cell, Section, Table, Text
from report.reading import Reports, flat, literal
from report.wording import duration, number, whole

MEASURED: dict[str, Callable[[Any], str]] = {
    "seconds": duration,
    "images_per_second": number,
    "peak_memory_mib": lambda value: f"{whole(value)} MiB",
    "parameters": whole,
    "batch_size": whole,
}


def section(
    reports: Reports, params: dict[str, Any], stages: Sequence[str], file: str, keys: Sequence[str] | None = None
) -> Section:
    """The machines of these stages (folders of reports), and the params of `file`: these keys, or all."""
    answer = (
        f"Seed {params['seed']}; {params['data']['dataset']}; `{params['schedule']}` schedule with T = "
        f"{whole(params['timesteps'])}. The same params on the same machine give the same figures, timings excepted; "
        "on another processor the last decimals change."
    )
    again = Text(
        "Timings come from the machine that ran the stage, which need not be yours; `dvc repro -f -s STAGE` measures "
        "them again."
    )
    timed = [name for name in stages if f"{name}/timing.json" in reports]
    measured: list[Block] = [machines(reports, timed), again] if timed else []
    blocks = (*measured, _params(file, {key: params[key] for key in keys or params}))
    return Section("appendix", "Params, versions, machine", (answer,), blocks)


def machines(reports: Reports, stages: Sequence[str]) -> Table:
    """Clock, size, versions and machine of each of these folders of reports."""
    records = {name: reports.record(f"{name}/timing.json") for name in stages}
    keys = list(dict.fromkeys(key for record in records.values() for key in record))
    rows = tuple(
        (Cell(key.replace("_", " ")), *(Cell(_shown(key, record.get(key))) for record in records.values()))
        for key in keys
    )
    return Table("Machine and versions, by stage.", ("Figure", *records), (False,) * (1 + len(records)), rows)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return ""
    return MEASURED.get(key, str)(value)


def _params(file: str, params: dict[str, Any]) -> Table:
    rows = tuple((Cell(key), Cell(_plain(value))) for key, value in flat(params).items())
    return Table(f"`{file}` of this run.", ("Key", "Value"), (False, False), rows)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else literal(str(value))
