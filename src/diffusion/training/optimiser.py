"""The optimiser and the averaged weights: what one step of a training changes."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.lanes import one_thread


class Diverged(ValueError):
    """A training whose loss, gradient or any other logged scalar is no longer finite."""


class Optimiser:
    """AdamW with warm-up, decay and gradient clipping: `gradient(loss)`, then `descend`, is all a training step needs.

    The parameters become views of one vector, so that a step is one operation on it and not sixty small ones.

    The second moment forgets faster than with PyTorch's beta2 = 0.999, whose memory is as long as a short run.

    A loss or gradient that is not finite changes nothing: on a CPU, `descend` raises Diverged before it steps. Other
    devices are not waited for: they skip this step and every later one until `refuse_not_finite` is called.
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
        self.vector = nn.Parameter(joined(self.parameters))
        for parameter, part in zip(self.parameters, self._parts(self.vector.detach()), strict=True):
            parameter.data = part
        self.adamw = torch.optim.AdamW(
            [self.vector], learning_rate, betas=(beta1, beta2), weight_decay=weight_decay, fused=True
        )
        self.learning_rate_at: Callable[[float], float] = lambda step: (
            learning_rate * min(1.0, (step + 1) / max(1, warmup_steps)) * DECAYS[decay](step / num_steps)
        )
        self.max_grad_norm = max_grad_norm
        self.step = 0
        device = self.vector.device
        self.seen = torch.zeros(3, device=device)  # step, loss, gradient norm: kept once not finite
        self.waits = device.type == "cpu"

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a scalar loss, laid out as `vector`. It changes nothing, so threads may call it at once."""
        found = torch.autograd.grad(loss, self.parameters)
        pairs = zip(self.parameters, found, strict=True)
        return joined(g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for p, g in pairs)

    def descend(self, loss: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        """Take one step down the gradient of a scalar loss; returns the gradient norm before clipping and the rate.

        On a CPU it raises Diverged if loss or gradient is not finite.
        """
        self.vector.grad = gradient
        learning_rate = self.learning_rate_at(self.step)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        with one_thread():  # for the norm too, whose last digits follow from the order in which weights are summed
            grad_norm = nn.utils.clip_grad_norm_([self.vector], self.max_grad_norm)
            self.watch(loss.detach(), grad_norm)
            self.adamw.step()
        self.step += 1
        return {"grad_norm": grad_norm.detach(), "learning_rate": torch.tensor(learning_rate, dtype=torch.float64)}

    def watch(self, loss: Tensor, grad_norm: Tensor) -> None:
        """Record the loss and gradient norm of a step, and let AdamW skip it if these or earlier ones are not finite;
        raises Diverged on a CPU."""
        now = torch.stack([torch.full_like(grad_norm, self.step + 1), loss, grad_norm])
        self.seen = torch.where(self.seen.isfinite().all(), now, self.seen)
        if self.waits:
            self.refuse_not_finite()
        else:
            self.adamw.found_inf = (~self.seen.isfinite().all()).float()  # type: ignore[attr-defined]

    def refuse_not_finite(self) -> None:
        """Raise Diverged, with the step, if a loss or gradient was not finite; waits for the device."""
        step, *values = self.seen.tolist()
        for name, value in zip(("loss", "gradient norm"), values, strict=True):
            if not math.isfinite(value):
                learning_rate = self.learning_rate_at(step - 1)
                raise Diverged(
                    f"training diverged: {name} is {value} at step {step:.0f} with learning rate {learning_rate:.3g}"
                )

    def state_dict(self) -> dict[str, Any]:
        """AdamW's moments and the step."""
        return {"step": self.step, "moments": self.adamw.state[self.vector]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.step = state_dict["step"]
        self.adamw.state[self.vector] = {
            name: value.to(self.vector.device) for name, value in state_dict["moments"].items()
        }

    def _parts(self, vector: Tensor) -> Iterator[Tensor]:
        """The views of a vector that are shaped and laid out as the parameters."""
        parts = vector.split([p.numel() for p in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            yield part.as_strided(parameter.shape, parameter.stride())


def joined(tensors: Iterable[Tensor]) -> Tensor:
    """Tensors without gaps in memory, in any layout, as one vector in the order in which they lie in memory."""
    return torch.cat([tensor.detach().as_strided((tensor.numel(),), (1,)) for tensor in tensors])


DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "late": lambda share: min(1.0, 5 * (1 - share)),  # constant, then down to 0 over the last fifth
}


class Ema:
    """A moving average of a network's weights; its decay is 1 - (1 + step)^-0.75, capped, to forget the start."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards the weights of `net` after training step `step` (0-based)."""
        weight = 1 - min(self.decay, 1 - (1 + step) ** -0.75)
        with one_thread():
            torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), weight)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.net.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.net.load_state_dict(state_dict)
