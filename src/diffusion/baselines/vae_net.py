"""The network of a convolutional, class-conditional variational autoencoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from diffusion.baselines.coders import Decoder, Encoder

PARAMETERS_PER_LOGISTIC = 3  # weight, mean, log scale


class Vae(nn.Module):
    """Encoder to a diagonal Gaussian over latents, decoder to a mixture of `mixtures` logistics for every pixel.

    Every class has its own prior (Sohn et al. 2015, section 4.1): with a shared prior, the latent would encode the
    class at no extra cost, and the decoder could ignore the label.
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
        """Mean and log variance (B, Z) of p(z | y) for labels (B,)."""
        return self.of_class(label).chunk(2, dim=1)

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, Z) of q(z | x, y) for images (B, C, H, W) and labels (B,)."""
        return self.encoder(x, label).chunk(2, dim=1)

    def decode(self, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weight logits, means and log scales (B, K, C, H, W) of every pixel's logistics, for z (B, Z), labels (B,)."""
        of_pixels = self.decoder(z, label).unflatten(1, (PARAMETERS_PER_LOGISTIC, -1, self.image_channels))
        return of_pixels.unbind(1)
