"""Training: one step and one loop for every network. A model gives nothing but its loss.

Batch k and its random numbers are functions of (seed, purpose, k), so a run that resumes from a checkpoint ends with
the same bytes as one that was never interrupted.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from diffusion.data import to_float
from diffusion.objective import Draws, Loss
from diffusion.training.batches import batch_indices
from diffusion.training.checkpoints import Checkpoints
from diffusion.training.optimiser import Diverged, Ema, Optimiser

Net = TypeVar("Net", bound=nn.Module)
Update = Callable[[int], dict[str, Tensor]]  # takes training step k (0-based), returns scalars to log


class Learner(NamedTuple, Generic[Net]):
    """A network that descends its own loss: all that one descent changes."""

    net: Net
    loss: Loss
    optimiser: Optimiser
    ema: Ema | None = None

    def weights(self) -> dict[str, Tensor]:
        """The weights that are worth keeping: the averaged ones where there are some."""
        return (self.ema or self.net).state_dict()


class Stateful(Protocol):
    """Anything whose state goes into a checkpoint: modules, optimisers, averaged weights."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def training_step(
    learners: Mapping[str, Learner[Any]],
    items: Tensor,
    conditions: Tensor,
    *,
    batch_size: int,
    seed: int,
    purpose: str,
    order: str | None = None,
) -> Update:
    """The training step for `fit`: take a batch, then descend the loss of every learner in turn (a GAN has two).

    items (N, ...) are uint8 images or float latents, conditions (N, ...) are labels or tokens; both on the device.
    `purpose` names the random draws, and the order of the batches unless `order` does. Logged are the scalars of the
    losses, and the gradient norm and learning rate of the last learner.
    """

    def update(step: int) -> dict[str, Tensor]:
        rows = batch_indices(len(items), batch_size, seed, order or purpose, step, items.device)
        x, condition = to_float(items[rows]), conditions[rows]
        logged: dict[str, Tensor] = {}
        for net, loss, optimiser, ema in learners.values():
            descended, scalars = loss(x, condition, Draws(seed, purpose, step, items.device))
            logged |= {name: scalar.detach() for name, scalar in scalars.items()} | optimiser.descend(descended)
            if ema:
                ema.update(net, step)
        return logged

    return update


def state_of(learners: Mapping[str, Learner[Any]]) -> dict[str, Stateful]:
    """All that `training_step` changes, by name: what `fit` saves and restores."""
    return {
        f"{name}.{kind}": part
        for name, learner in learners.items()
        for kind, part in (("net", learner.net), ("optimiser", learner.optimiser), ("ema", learner.ema))
        if part is not None
    }


class Progress(NamedTuple):
    """Steps done, and the mean of every logged scalar since the last report."""

    step: int
    means: dict[str, float]


class Log:
    """What a training has reported so far, and the sums since the last report: it may be interrupted between two."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    @property
    def step(self) -> int:
        """Steps done."""
        return (self.reports[-1].step if self.reports else 0) + self.count

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Add the scalars of a step to the sums."""
        self.sums = {name: self.sums[name] + value if self.sums else value for name, value in scalars.items()}
        self.count += 1

    def report(self) -> Progress:
        """Report the means since the last report. Raises Diverged if one is not finite."""
        progress = Progress(self.step, {name: float(total) / self.count for name, total in self.sums.items()})
        for name, value in progress.means.items():
            if not math.isfinite(value):
                raise Diverged(f"training diverged: {name} is {value} at step {progress.step}")
        self.reports.append(progress)
        self.sums, self.count = {}, 0
        return progress

    def state_dict(self) -> dict[str, Any]:
        """Reports, sums and count."""
        return {"reports": self.reports, "sums": self.sums, "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.reports = [Progress(*report) for report in state_dict["reports"]]
        self.sums, self.count = state_dict["sums"], state_dict["count"]


def fit(
    update: Update,
    state: Mapping[str, Stateful],
    num_steps: int,
    log_every: int,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Progress]:
    """Call update(0), ..., update(num_steps - 1), each a complete training step that returns scalars to log.

    Yields a Progress every `log_every` steps and at the end; after resuming from a checkpoint, the earlier ones come
    first. `state` is everything that update changes (see `state_of`). Raises Diverged if a loss, a gradient or a
    reported scalar is not finite: on a CPU in that very step, elsewhere before the next report or checkpoint (see
    `Optimiser`).
    """
    log = Log()
    whole = {**state, "log": log}
    if checkpoints:
        checkpoints.restore(whole)
    yield from log.reports
    for step in range(log.step, num_steps):
        log.add(update(step))
        reports = (step + 1) % log_every == 0 or step + 1 == num_steps
        saves = checkpoints if checkpoints and checkpoints.due else None
        if reports or saves:
            for part in state.values():
                if isinstance(part, Optimiser):
                    part.refuse_not_finite()
        if reports:
            yield log.report()
        if saves:
            saves.save(whole, log.step)
