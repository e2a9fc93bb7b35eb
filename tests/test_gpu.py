"""What can be checked of a GPU without one: that nothing in a hot loop copies to it or waits for it.

With tensors that have a device and no content. The backward pass would need a real GPU and is left out.
"""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusion.denoiser import Denoiser
from diffusion.loss import denoising_loss
from diffusion.nets.dit import DiT
from diffusion.nets.unet import UNet
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Learner, training_step
from diffusion.training.optimiser import Ema, Optimiser


class DevicesMixed(TorchDispatchMode):
    """Notes every operation that reads one device and writes another, or that hands a number to Python."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor) and x.ndim]
        if len({x.device.type for x in tensors}) > 1 or "_local_scalar_dense" in str(function):
            self.found.append(str(function))
        return result


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "build", [partial(UNet, 8, 1, 10, 1, [8, 16], 1, 4, 0.0), partial(DiT, 8, 1, 10, 2, 16, 2, 4, 0.0)]
)
def test_a_training_step_copies_nothing_to_the_gpu_and_never_waits(monkeypatch, build):
    for module in ("objective", "training.batches"):  # a generator of a GPU needs the GPU
        monkeypatch.setattr(f"diffusion.{module}.generator_for", lambda *_: None)
    schedule = noise_schedule("linear", 1000)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            net = build()
            images, labels = torch.zeros(100, 1, 8, 8, dtype=torch.uint8), torch.zeros(100, dtype=torch.long)
        optimiser = Optimiser(net.parameters(), 1e-3, num_steps=2)
        optimiser.gradient, optimiser.descend = lambda loss: torch.zeros(()), lambda loss, gradient: {}
        loss = denoising_loss(Denoiser(net, schedule, "v"), dropout=0.1, times="cosine", weighting="min_snr")
        learners = {"denoiser": Learner(net, loss, optimiser, Ema(net, 0.9))}
        update = training_step(learners, images, labels, batch_size=8, seed=0, purpose="train")
        with DevicesMixed() as mixed:
            scalars = update(1)
    assert scalars["loss"].device.type == "cuda" and not mixed.found


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_watch_for_what_is_not_finite_never_waits_for_a_gpu():
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            weight, loss, grad_norm = torch.nn.Parameter(torch.zeros(4)), torch.zeros(()), torch.zeros(())
        optimiser = Optimiser([weight], 1e-3, num_steps=2)
        with DevicesMixed() as mixed:
            optimiser.watch(loss, grad_norm)
        assert optimiser.adamw.found_inf.device.type == "cuda" and not mixed.found
