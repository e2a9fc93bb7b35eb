"""The U-Net as a model of diffusers: its timesteps count from 0, where this project's count from 1."""

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor

from diffusion.nets.unet import UNet

EMBEDDED_TIMES = 1000  # the network sees 1000 * t / T


class ClassUNet(ModelMixin, ConfigMixin):
    """A class-conditional U-Net; the label `null` makes it unconditional."""

    @register_to_config
    def __init__(self, arguments: dict[str, Any], num_train_timesteps: int) -> None:
        super().__init__()
        self.net = UNet(**arguments)
        self.null = self.net.null
        self.scale = EMBEDDED_TIMES / num_train_timesteps

    def forward(
        self, sample: Tensor, timestep: Tensor | float, class_labels: Tensor, return_dict: bool = True
    ) -> UNet2DOutput | tuple[Tensor]:
        """The prediction (B, C, H, W) for samples (B, C, H, W), a timestep or one each (B,), and labels (B,)."""
        time = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device) + 1
        prediction = self.net(sample, (self.scale * time).expand(len(sample)), class_labels)
        return UNet2DOutput(prediction) if return_dict else (prediction,)
