"""The machine that params.yaml asks for."""

from typing import NamedTuple

import torch

from diffusion.runtime import pick_device, pick_precision, prepare_machine
from stages.params.params import Params


class Machine(NamedTuple):
    """Where networks run, and in which precision: `fp32` or `bf16`."""

    device: torch.device
    precision: str


def machine_of(params: Params) -> Machine:
    """Pick device and precision, and set up the process for them. Raises ValueError for a device that is not there."""
    device = pick_device(params.device)
    prepare_machine(device)
    return Machine(device, pick_precision(params.precision, device))
