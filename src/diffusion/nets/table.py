"""The networks that a denoiser can have, by name."""

from typing import Any

from torch import nn

from diffusion.nets.dit import DiT
from diffusion.nets.unet import UNet


def build_net(arguments: dict[str, Any]) -> nn.Module:
    """Build the network of `NETS` that the argument `kind` names (default: unet) from all other arguments.

    It maps x (B, C, H, W), times in [0, 1000] (B,) and labels (B,) to a prediction (B, C, H, W), and its attribute
    `null` is the label that makes it unconditional. Raises ValueError for an unknown name.
    """
    kind, others = arguments.get("kind", "unet"), {key: value for key, value in arguments.items() if key != "kind"}
    if kind not in NETS:
        raise ValueError(f"kind: {kind!r} is unknown (allowed: {', '.join(NETS)})")
    return NETS[kind](**others)


NETS: dict[str, type[nn.Module]] = {"unet": UNet, "dit": DiT}
