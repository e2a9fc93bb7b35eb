"""A denoiser's training as its section of params.yaml describes it.

It stands apart from `training`, so that an edit of the denoiser's loss retrains no judge, autoencoder or baseline.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn

from diffusion.denoiser import Denoiser
from diffusion.loss import denoising_loss
from diffusion.nets.table import NETS
from diffusion.objective import Loss
from diffusion.runtime import place
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Learner, Update, training_step
from diffusion.training.optimiser import Ema, Optimiser
from diffusion.transfer import all_sent
from stages.params.keys import Model, Train
from stages.params.params import Params
from stages.shared.training import Learners


def net_arguments(model: Model) -> dict[str, Any]:
    """What `build_net` takes of section `model`: the kind, unless it is a U-Net, and the keys that this kind has."""
    taken = signature(NETS[model.kind]).parameters
    arguments = {key: value for key, value in model.model_dump().items() if key in taken}
    return arguments if model.kind == "unet" else {"kind": model.kind} | arguments


def denoiser_training(
    net: nn.Module,
    items: Tensor,
    conditions: Tensor,
    params: Params,
    train: Train,
    device: torch.device,
    precision: str,
    augmented: Callable[[Loss], Loss] | None = None,
) -> tuple[Update, Learners]:
    """The training of a denoiser, not begun: its step for `fit`, and its learner.

    items (N, ...) are uint8 images or float latents, conditions (N, ...) integers as the network takes them;
    `augmented`, if given, makes of the denoising loss one on altered items.
    """
    net = place(net, device)
    called = cast(nn.Module, torch.compile(net, mode="reduce-overhead")) if train.compile else net
    denoiser = Denoiser(called, noise_schedule(params.schedule, params.timesteps), train.target, precision)
    loss = denoising_loss(denoiser, dropout=train.label_dropout, times=train.times, weighting=train.weighting)
    learners = {"denoiser": learner_of(net, augmented(loss) if augmented else loss, train)}
    items, conditions = all_sent(items, device), conditions.to(device)
    update = training_step(
        learners,
        items,
        conditions,
        batch_size=train.batch_size,
        seed=params.seed,
        purpose="train",
        shards=params.shards,
    )
    return update, learners


def learner_of(net: nn.Module, loss: Loss, train: Train) -> Learner[nn.Module]:
    """A network that descends a loss with the optimiser and the average of weights of a section of params.yaml."""
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
    return Learner(net, loss, optimiser, Ema(net, train.ema_decay))
