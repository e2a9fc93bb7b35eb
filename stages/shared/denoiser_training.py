"""A denoiser's training as its section of params.yaml asks for it."""

import torch
from torch import Tensor, nn

from diffusion.denoiser import Denoiser
from diffusion.loss import denoising_update
from diffusion.schedule import noise_schedule
from diffusion.training.optimiser import Ema, Optimiser
from stages.params.keys import Train
from stages.params.params import Params
from stages.shared.training import State, Update


def denoiser_training(
    net: nn.Module,
    images: Tensor,
    conditions: Tensor,
    null: int,
    params: Params,
    train: Train,
    precision: str,
) -> tuple[Update, State]:
    """The training of a denoiser, not begun: its step for `fit`, and its state (net, ema, optimiser).

    `net`, `images` and `conditions` are on the device; see `denoising_update`.
    """
    state = denoiser_state(net, train)
    model = torch.compile(net, mode="reduce-overhead") if train.compile else net
    update = denoising_update(
        Denoiser(model, noise_schedule(params.schedule, params.timesteps), train.target, precision),
        state["ema"],
        state["optimiser"],
        images,
        conditions,
        batch_size=train.batch_size,
        dropout=train.label_dropout,
        null=null,
        times=train.times,
        weighting=train.weighting,
        seed=params.seed,
    )
    return update, state


def denoiser_state(net: nn.Module, train: Train) -> State:
    """What the steps of a training change: net, ema, optimiser."""
    optimiser = Optimiser(
        net.parameters(),
        train.learning_rate,
        train.steps,
        weight_decay=train.weight_decay,
        warmup_steps=train.warmup_steps,
        max_grad_norm=train.max_grad_norm,
        decay=train.decay,
        beta2=train.adam_beta2,
    )
    return {"net": net, "ema": Ema(net, train.ema_decay), "optimiser": optimiser}
