"""What samplers have in common: the steps that they yield, and the row that describes one in the table.

A sampler is a generator. It walks x_t down a list of times and yields a `Step` for every pair (t, s) of neighbours, so
fewer steps are another list of times and nothing else. The last time is 0, where alpha_bar = 1: no sampler has a
special last step. It calls `denoise(x_t, t)` and takes its noise from an iterator of standard normals, the first of
which is the start noise x_T.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.schedule import NoiseSchedule


class Step(NamedTuple):
    """The state after a step: x_t at the time t that the step arrives at, and the x_0 estimated on the way there."""

    t: float
    x_t: Tensor
    x_0: Tensor


Walk = Callable[[Denoise, NoiseSchedule, Iterator[Tensor]], Iterator[Step]]  # a sampler whose times are chosen


class Sampler(NamedTuple):
    """A row of the table of samplers."""

    walk: Callable[..., Iterator[Step]]  # (denoise, schedule, times, normals), and eta where it takes one
    takes_eta: bool = False
    takes_all_steps: bool = False  # one for every timestep, so it has no timestep spacing to choose
    evaluations: int = 1  # of the network in a step; a last step to t = 0 needs one


def final(steps: Iterable[Step]) -> Tensor:
    """The finished images of a sampler, (B, C, H, W); only one step is held at a time."""
    return deque(steps, maxlen=1)[0].x_t
