"""Training: one loop for every network, the optimiser, the averaged weights, and the order of the batches.

Batch k is a function of (seed, k), as its noise is (`loss`), so a run that stops and goes on ends with the same bytes.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from diffusion.training.checkpoints import Checkpoints
from diffusion.training.optimiser import Diverged, Optimiser


class Stateful(Protocol):
    """Anything whose state goes into a checkpoint: modules, optimisers, EMA."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Progress(NamedTuple):
    """Steps done, and the mean of every logged scalar since the last report."""

    step: int
    means: dict[str, float]


class Log:
    """What a training has reported, and the sums of the report under way: a training can stop between two of them."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    @property
    def step(self) -> int:
        """Steps done."""
        return (self.reports[-1].step if self.reports else 0) + self.count

    def add(self, scalars: dict[str, Tensor]) -> None:
        """The scalars of a step."""
        self.sums = {name: self.sums[name] + value if self.sums else value for name, value in scalars.items()}
        self.count += 1

    def report(self) -> Progress:
        """The means since the last report. Raises Diverged where one is not finite."""
        progress = Progress(self.step, {name: float(total) / self.count for name, total in self.sums.items()})
        for name, value in progress.means.items():
            if not math.isfinite(value):
                raise Diverged(f"training diverged: {name} is {value} at step {progress.step}")
        self.reports.append(progress)
        self.sums, self.count = {}, 0
        return progress

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {"reports": self.reports, "sums": self.sums, "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.reports = [Progress(*report) for report in state_dict["reports"]]
        self.sums, self.count = state_dict["sums"], state_dict["count"]


def fit(
    update: Callable[[int], dict[str, Tensor]],
    state: Mapping[str, Stateful],
    num_steps: int,
    log_every: int,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Progress]:
    """Call update(0), ..., update(num_steps - 1), each a whole training step that returns scalars to log.

    Yields a Progress every `log_every` steps and at the end; after a resume the earlier ones come first, again.
    `state` is everything that update changes. Raises Diverged where a loss, a gradient or a reported scalar is not
    finite: on a CPU in that very step, elsewhere before the next report or checkpoint (see `Optimiser`).
    """
    log = Log()
    whole = {**state, "log": log}
    if checkpoints:
        checkpoints.restore(whole)
    yield from log.reports
    for step in range(log.step, num_steps):
        log.add(update(step))
        reports = (step + 1) % log_every == 0 or step + 1 == num_steps
        saves = checkpoints is not None and checkpoints.due
        if reports or saves:
            for part in state.values():
                if isinstance(part, Optimiser):
                    part.refuse_not_finite()
        if reports:
            yield log.report()
        if saves:
            checkpoints.save(whole, log.step)
