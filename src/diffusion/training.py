"""Training: one loop for every network, the optimiser, the averaged weights, and the order of the batches.

Batch k is a function of (seed, k), as its noise is (`loss`), so a run that stops and goes on ends with the same bytes.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from diffusion.checkpoint import Checkpoints
from diffusion.randomness import generator


class Stateful(Protocol):
    """Anything whose state goes into a checkpoint: modules, optimisers, EMA."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Diverged(ValueError):
    """A training whose loss, or whatever else it logs, is no number any more."""


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


class Optimiser:
    """AdamW with warm-up, decay and gradient clipping: `descend(loss)` is all a training step needs.

    The second moment forgets faster than PyTorch's beta2 = 0.999, which remembers as many steps as short runs have.

    A loss or gradient that is not finite changes nothing: on a CPU, `descend` raises Diverged before it steps. Other
    devices are not waited for: they skip this step and all that follow, until `refuse_not_finite` asks them.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        num_steps: int,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        max_grad_norm: float = 1.0,
        decay: str = "cosine",
        beta2: float = 0.99,
        beta1: float = 0.9,
    ) -> None:
        self.parameters = list(parameters)
        self.adamw = torch.optim.AdamW(
            self.parameters, learning_rate, betas=(beta1, beta2), weight_decay=weight_decay, fused=True
        )
        self.learning_rate_at = lambda step: (
            learning_rate * min(1.0, (step + 1) / max(1, warmup_steps)) * DECAYS[decay](step / num_steps)
        )
        self.max_grad_norm = max_grad_norm
        self.step = 0
        device = self.parameters[0].device
        self.seen = torch.zeros(3, device=device)  # step, loss, gradient norm: the first that are not finite stay
        self.waits = device.type == "cpu"

    def descend(self, loss: Tensor) -> dict[str, Tensor]:
        """One step down the gradient of a scalar loss; returns the norm (before clipping) and the learning rate."""
        self.adamw.zero_grad()
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        learning_rate = self.learning_rate_at(self.step)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        self.watch(loss.detach(), grad_norm)
        self.adamw.step()
        self.step += 1
        return {"grad_norm": grad_norm.detach(), "learning_rate": torch.tensor(learning_rate, dtype=torch.float64)}

    def watch(self, loss: Tensor, grad_norm: Tensor) -> None:
        """Note the loss and gradient norm of a step, and let AdamW skip it where they, or earlier ones, are not finite;
        on a CPU raises Diverged."""
        now = torch.stack([torch.full_like(grad_norm, self.step + 1), loss, grad_norm])
        self.seen = torch.where(self.seen.isfinite().all(), now, self.seen)
        if self.waits:
            self.refuse_not_finite()
        else:
            self.adamw.found_inf = (~self.seen.isfinite().all()).float()

    def refuse_not_finite(self) -> None:
        """Raises Diverged where a loss or gradient was not finite, and says in which step; waits for the device."""
        step, *values = self.seen.tolist()
        for name, value in zip(("loss", "gradient norm"), values, strict=True):
            if not math.isfinite(value):
                learning_rate = self.learning_rate_at(step - 1)
                raise Diverged(
                    f"training diverged: {name} is {value} at step {step:.0f} with learning rate {learning_rate:.3g}"
                )

    def state_dict(self) -> dict[str, Any]:
        """AdamW's moments and the step."""
        return {"step": self.step, "moments": {i: self.adamw.state[p] for i, p in enumerate(self.parameters)}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`; moments take the memory layout of their parameter, which fused AdamW relies on."""
        self.step = state_dict["step"]
        for i, parameter in enumerate(self.parameters):
            moments = state_dict["moments"][i]
            self.adamw.state[parameter] = {
                name: torch.empty_like(parameter).copy_(value) if value.ndim else value.to(parameter.device)
                for name, value in moments.items()
            }


DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "late": lambda share: min(1.0, 5 * (1 - share)),  # constant, then down to 0 over the last fifth
}


class Ema:
    """A moving average of a network's weights, with a warm-up that forgets the start: 1 - (1 + step)^-0.75, capped."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards the weights of `net` after training step `step` (0-based)."""
        weight = 1 - min(self.decay, 1 - (1 + step) ** -0.75)
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), weight)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.net.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.net.load_state_dict(state_dict)


def batch_indices(
    num_items: int, batch_size: int, seed: int, purpose: str, step: int, device: torch.device | str = "cpu"
) -> Tensor:
    """(B,) indices: batch `step` of an endless stream of shuffled epochs, computed without the batches before it."""
    first = step * batch_size
    last = first + batch_size - 1
    epochs = range(first // num_items, last // num_items + 1)
    permutations = [_epoch_permutation(num_items, seed, purpose, epoch, device) for epoch in epochs]
    begin = first - epochs[0] * num_items
    return torch.cat(permutations)[begin : begin + batch_size]


@lru_cache(maxsize=2)
def _epoch_permutation(num_items: int, seed: int, purpose: str, epoch: int, device: torch.device | str) -> Tensor:
    draw = generator(seed, f"{purpose}/epoch", epoch, device)
    return torch.randperm(num_items, generator=draw, device=device)
