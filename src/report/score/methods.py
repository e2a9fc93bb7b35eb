"""How bits per dimension are counted, and how a count is written: shared by the chapter and its study."""

import pandas as pd

from report.content import Column
from report.wording import number, spread, whole

METHODS = {  # as in the tables of stages, and in words
    "bound": "variational bound",
    "ODE": "probability-flow ODE",
    "bound of the ODE's images": "variational bound, same images",
}
COSTS: tuple[Column, ...] = (
    ("method", "Method", METHODS.__getitem__),
    ("n", "n", whole),
    ("bits", "Bits per dimension", number),
    ("error", "± error", lambda value: number(value, 2)),
    ("prior", "Prior", lambda value: number(value, 2)),
    ("diffusion", "Diffusion", number),
    ("reconstruction", "Reconstruction", number),
)


def cost(row: pd.Series) -> str:
    """Bits with their error and n."""
    return f"{spread(row['bits'], row['error'])} (n = {whole(row['n'])})"
