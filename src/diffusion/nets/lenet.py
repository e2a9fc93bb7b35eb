"""A second image classifier: plain convolutions and max-pooling, with neither norms nor skip connections."""

import torch.nn.functional as F
from torch import Tensor, nn

NUM_FEATURES = 128
COARSEST_SIDE = 8


class LeNet(nn.Module):
    """Wide 5x5 convolutions, each followed by max-pooling, until the side is at most 8; then two linear layers.

    As in LeCun et al. 1998, with ReLU (Krizhevsky et al. 2012). For any image of 2x2 or more.
    """

    knows_noise = False

    def __init__(self, image_size: int, in_channels: int, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.arguments = {
            "image_size": image_size,
            "in_channels": in_channels,
            "num_classes": num_classes,
            "width": width,
        }
        self.convs = nn.ModuleList()
        channels, side = in_channels, image_size
        while side > COARSEST_SIDE or not self.convs:
            wide = 2 * width if self.convs else width
            self.convs.append(nn.Conv2d(channels, wide, 5, padding=2))
            channels, side = wide, (side + 1) // 2
        self.penultimate = nn.Linear(channels * side**2, NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def features(self, x: Tensor, log_snr: Tensor | None = None) -> Tensor:
        """Penultimate features (B, 128) of images (B, C, H, W) in [-1, 1]; it knows no noise, so log_snr is None."""
        assert log_snr is None
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), 2, ceil_mode=True)
        return F.relu(self.penultimate(x.flatten(1)))  # (B, 128)

    def forward(self, x: Tensor, log_snr: Tensor | None = None) -> Tensor:
        """Logits (B, num_classes); arguments as `features`."""
        return self.head(self.features(x, log_snr))
