"""Images by the batch, whatever makes them: the only loop over batches of images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.data import to_uint8
from diffusion.denoiser import Conditional, Denoiser, Wrap, clipped
from diffusion.processes import spread
from diffusion.randomness import image_noise
from diffusion.samplers.step import Walk, final
from diffusion.transfer import sent

Watch = Callable[[Sequence[Tensor]], Iterable[Tensor]]  # the same batches, with their progress shown, as by tqdm
Normals = Callable[[int, str, Sequence[int], Sequence[int], torch.device], Iterator[Tensor]]  # as `image_noise`


@dataclass(frozen=True, eq=False)
class ImageModel:
    """Conditions to finished images, whatever is inside: pixels, latents with text, one call of a GAN or a VAE."""

    shape: tuple[int, ...]  # of the normal draws of one image
    device: torch.device
    sample: Callable[[Tensor, Iterator[Tensor]], Tensor]  # (conditions (B, ...), normals) -> (B, C, H, W) in [-1, 1]

    @torch.no_grad()
    def images(
        self,
        conditions: Tensor,
        seed: int,
        purpose: str,
        batch_size: int,
        watch: Watch = iter,
        normals: Normals = image_noise,
    ) -> Tensor:
        """Images uint8 (N, C, H, W), on the CPU, of conditions (N, ...) on any device.

        Image k is a function of its condition and of normals(seed, purpose, k). Raises ValueError for images that are
        not finite.
        """

        def batch(indices: Tensor) -> tuple[Tensor]:
            draws = normals(seed, purpose, indices.tolist(), self.shape, self.device)
            images = self.sample(sent(conditions[indices.to(conditions.device)], self.device), draws)
            return (to_uint8(images).cpu(),)

        batches = torch.arange(len(conditions)).split(batch_size)
        return torch.cat([images for (images,) in spread(batch, watch(batches), len(batches), self.device)])


def of_denoiser(denoiser: Denoiser, shape: Sequence[int], walk: Walk, wrap: Wrap = Conditional) -> ImageModel:
    """Images of this shape (C, H, W) by a sampler, with every x_0 clipped to the range of pixels."""

    def sample(conditions: Tensor, normals: Iterator[Tensor]) -> Tensor:
        return final(walk(clipped(wrap(denoiser, conditions)), denoiser.schedule, normals))

    return ImageModel(tuple(shape), denoiser.device, sample)


def of_latents(
    denoiser: Denoiser, shape: Sequence[int], walk: Walk, decode: Callable[[Tensor], Tensor], wrap: Wrap = Conditional
) -> ImageModel:
    """Images decoded from latents of this shape (c, h, w) by a sampler; latents have no range to clip x_0 to."""

    def sample(conditions: Tensor, normals: Iterator[Tensor]) -> Tensor:
        return decode(final(walk(wrap(denoiser, conditions), denoiser.schedule, normals)))

    return ImageModel(tuple(shape), denoiser.device, sample)


def of_one_call(model: Callable[[Tensor, Tensor], Tensor], latent: int, device: torch.device) -> ImageModel:
    """Images (B, C, H, W) by one call of a model, such as a GAN or a VAE, for latents (B, latent) and labels (B,)."""
    return ImageModel((latent,), device, lambda labels, normals: model(next(normals), labels))
