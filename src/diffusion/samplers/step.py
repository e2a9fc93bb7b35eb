"""What every sampler yields."""

from typing import NamedTuple

from torch import Tensor


class Step(NamedTuple):
    """The state after a step: x_t at the time t that it arrived at, and the x_0 estimated on the way there."""

    t: float
    x_t: Tensor
    x_0: Tensor
