"""Training: one step and one loop for every network. A model gives nothing but its loss.

Batch k and its random numbers are functions of (seed, purpose, k), so a run that resumes from a checkpoint ends with
the same bytes as one that was never interrupted. A batch is split into shards, whose gradients are added in their
order, so as many threads or processes as there are shards can work side by side and the bytes do not depend on their
number.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from diffusion.data import to_float
from diffusion.lanes import in_lanes, one_thread
from diffusion.objective import Draws, Loss
from diffusion.processes import count, rank, spread, summed
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

    def descend(self, x: Tensor, condition: Tensor, parts: Sequence[Draws], whole: bool) -> dict[str, Tensor]:
        """Take one step down the loss of a batch (B, ...), which the draws split into parts; returns what it logs.

        The parts are those of the whole batch, or those that fall to this process, which the others do not see: then
        the sums of all processes are added.

        Dropout draws from the only generator that PyTorch lets it use: parts take turns, and each seeds it.
        """
        drops_out = any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.net.modules())
        names: list[str] = []

        def descent(draws: Draws) -> tuple[Tensor, ...]:
            """Loss, gradient and scalars of a part, each weighted by the part's share of the batch."""
            if drops_out:
                torch.manual_seed(draws.stream(f"dropout/{draws.rows.start}").initial_seed())
            value, scalars = self.loss(x[draws.rows], condition[draws.rows], draws)
            share = len(x[draws.rows]) / len(x)
            names[:] = scalars
            gradient = self.optimiser.gradient(share * value)
            return share * value.detach(), gradient, *(share * scalar.detach() for scalar in scalars.values())

        if whole:
            descents = spread(descent, parts, len(parts), x.device, in_turn=drops_out)
        else:
            descents = map(descent, parts) if drops_out else in_lanes(descent, parts, len(parts), x.device)
        total = reduce(lambda a, b: tuple(map(torch.add, a, b)), descents)
        loss, gradient, *scalars = total if whole else summed(total)
        return dict(zip(names, scalars, strict=True)) | self.optimiser.descend(loss, gradient)

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
    shards: int = 1,
) -> Update:
    """The training step for `fit`: take a batch, then descend the loss of every learner in turn (a GAN has two).

    items (N, ...) are uint8 images or float latents, conditions (N, ...) are labels or tokens; both on the device.
    `purpose` names the random draws, and the order of the batches unless `order` does. A batch is split into `shards`
    of equal size, or nearly so, for threads and processes to share. A number of processes that does not divide `shards`
    splits it in its own way, and adds gradients in any order: that differs by rounding. Logged are the scalars of the
    losses, and the gradient norm and learning rate of the last learner. Raises ValueError for more processes than
    there are items in a batch.
    """
    if batch_size < count():
        raise ValueError(f"batch_size: {batch_size} is too small for {count()} processes (allowed: at least one each)")
    whole = shards % count() == 0
    number = shards if whole else count() * max(1, shards // count())
    edges = [part * batch_size // number for part in range(number + 1)]
    parts = [slice(first, last) for first, last in pairwise(edges) if first < last]
    if not whole:
        parts = parts[rank() :: count()]

    def update(step: int) -> dict[str, Tensor]:
        rows = batch_indices(len(items), batch_size, seed, order or purpose, step, items.device)
        with one_thread():
            x, condition = to_float(items[rows]), conditions[rows]
        logged: dict[str, Tensor] = {}
        for learner in learners.values():
            draws = [Draws(seed, purpose, step, x.device, batch_size, part) for part in parts]
            logged |= learner.descend(x, condition, draws, whole)
            if learner.ema:
                learner.ema.update(learner.net, step)
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
