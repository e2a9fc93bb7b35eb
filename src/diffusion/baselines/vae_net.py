"""A convolutional variational autoencoder: an image and a class to a latent, and a latent and a class to pixels."""

from collections.abc import Sequence

from torch import Tensor, nn

from diffusion.baselines.coders import Decoder, Encoder

PARAMETERS_PER_LOGISTIC = 3  # weight, mean, log scale


class Vae(nn.Module):
    """Encoder to a diagonal Gaussian over latents, decoder to a mixture of `mixtures` logistics for every pixel.

    Every class has a prior of its own (Sohn et al. 2015, section 4.1): with one for all, the latent says the class as
    cheaply as it says anything, and the decoder need not listen to the label.
    """

    def __init__(
        self,
        image_size: int,
        image_channels: int,
        num_classes: int,
        latent: int,
        mixtures: int,
        patch: int,
        channels: Sequence[int],
        blocks: int,
    ) -> None:
        super().__init__()
        shape = (patch, channels, blocks)
        self.image_channels = image_channels
        self.of_class = nn.Embedding(num_classes, 2 * latent)
        nn.init.zeros_(self.of_class.weight)
        self.encoder = Encoder(image_size, image_channels, num_classes, *shape, 2 * latent)
        outputs = image_channels * mixtures * PARAMETERS_PER_LOGISTIC
        self.decoder = Decoder(image_size, num_classes, latent, *shape, outputs)

    def prior(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, Z) of the latent of a class."""
        return self.of_class(label).chunk(2, dim=1)

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, Z) of the latent of an image."""
        return self.encoder(x, label).chunk(2, dim=1)

    def decode(self, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the logistics of every pixel the logits of their weights, means and log scales: (B, K, C, H, W) each."""
        of_pixels = self.decoder(z, label).unflatten(1, (PARAMETERS_PER_LOGISTIC, -1, self.image_channels))
        return of_pixels.unbind(1)
