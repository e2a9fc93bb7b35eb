"""Extractors of features by which samples are compared, for data on which the judge's own features see too little.

Each is a description of images that knows no labels, fixed or pretrained elsewhere, followed by a projection on its
principal components in the training split: few enough for an FID of 1,000 samples.
"""

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.data import to_float
from diffusion.lanes import one_thread
from diffusion.runtime import freeze
from diffusion.tensors import Tensors, load_weights, one_line, with_weights

BATCH_SIZE = 256
COLOUR_CELLS = 4  # along each side, in which colours are averaged
ORIENTATIONS = 4
FILTER_SIZE, WAVELENGTH, ENVELOPE = 5, 4.0, 1.2  # of the filters, in pixels
POWERS = (0.5, 1, 2, 4)  # of the means over an image: small ones weigh quiet parts, large ones sharp edges
LEAST_SIDE = 4  # of the coarsest scale
QUIET = 0.02  # moduli far below this, in pixels of [-1, 1], count as none
PRETRAINED = "torchvision:"
IMAGES_AT_A_TIME = 32  # through a pretrained network, which takes larger images than ours
NEGLIGIBLE = 1e-9  # of the largest variance: smaller ones are rounding


class FilterBank(nn.Module):
    """Colours and textures of images: means of opponent colours in 4 x 4 cells and their spread, and logarithms of the
    power means of moduli of oriented filters, at every scale down to 4 pixels.

    A filter is a pair in quadrature (Gabor 1946), so its modulus does not depend on where exactly an edge lies.
    """

    words: ClassVar[str] = "responses of fixed filters, whitened"
    components: ClassVar[int] = 32
    whitens: ClassVar[bool] = True

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", quadrature_pairs(), persistent=False)  # (2 * ORIENTATIONS, 1, 5, 5)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) in [-1, 1], C = 1 or 3 -> (B, D)."""
        x = opponent(x)
        parts = [F.adaptive_avg_pool2d(x, COLOUR_CELLS).flatten(1), x.std((2, 3), correction=0)]
        while min(x.shape[2:]) >= LEAST_SIDE:
            moduli = self._moduli(x)
            parts += [(moduli.pow(p).mean((2, 3)).pow(1 / p) + QUIET).log() for p in POWERS]
            x = F.avg_pool2d(x, 2)
        return torch.cat(parts, dim=1)

    def _moduli(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C * ORIENTATIONS, H, W)."""
        border = [FILTER_SIZE // 2] * 4
        single = F.pad(x, border, mode="reflect").flatten(0, 1).unsqueeze(1)  # (B * C, 1, H + 4, W + 4)
        pairs = F.conv2d(single, self.filters).unflatten(1, (ORIENTATIONS, 2))
        return pairs.square().sum(2).sqrt().unflatten(0, x.shape[:2]).flatten(1, 2)


class Pretrained(nn.Module):
    """What the last layer of a classifier of torchvision sees, with images as the classifier expects them."""

    components: ClassVar[int] = 128
    whitens: ClassVar[bool] = False

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, num_classes: int = 1000) -> None:
        """An untrained one. Raises ValueError for a name that torchvision does not know, or of a network that does not
        end in a linear layer."""
        super().__init__()
        import torchvision

        models = torchvision.models
        if name not in models.list_models(module=models):
            raise ValueError(
                f"judge.extractor: torchvision has no classifier {name!r} (allowed: those it has, such as resnet18)"
            )
        self.words = f"penultimate features of torchvision's {name}, reduced"
        self.net = models.get_model(name, weights=None, num_classes=num_classes)
        self.head_name = head_name(self.net, name)
        self.head = self.net.get_submodule(self.head_name)  # not called, but part of the weights
        self.net.set_submodule(self.head_name, nn.Identity())
        expected = models.get_model_weights(name).DEFAULT.transforms()
        self.size = getattr(self.net, "image_size", expected.crop_size[0])
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(expected, statistic)).view(1, -1, 1, 1)
            self.register_buffer(statistic, values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) in [-1, 1], C = 1 or 3 -> (B, D)."""
        return torch.cat([self.net(self._expected(part)).flatten(1) for part in x.split(IMAGES_AT_A_TIME)])

    def _expected(self, x: Tensor) -> Tensor:
        x = F.interpolate((x + 1) / 2, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.std


Description = FilterBank | Pretrained


class Extractor(nn.Module):
    """Features (B, D) of images (B, C, H, W) in [-1, 1]: a description of them, less its `mean`, times a `basis`."""

    mean: Tensor
    basis: Tensor

    def __init__(self, name: str, described: Description, mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.name, self.described = name, described
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)

    def forward(self, x: Tensor) -> Tensor:
        return (self.described(x) - self.mean) @ self.basis

    @property
    def words(self) -> str:
        """What the features are, for a report."""
        return self.described.words

    @property
    def description(self) -> dict[str, Any]:
        """What `built` needs besides the tensors."""
        return {"name": self.name}

    @classmethod
    def built(cls, description: dict[str, Any], tensors: Tensors) -> "Extractor":
        """The extractor with this description and these tensors. Raises an error if they do not fit together."""
        name: str = description["name"]
        described: Description
        if kind := EXTRACTORS.get(name):
            described = kind()
        else:
            described = Pretrained(name.removeprefix(PRETRAINED), len(tensors["described.head.weight"]))
        return with_weights(cls(name, described, tensors["mean"], tensors["basis"]), tensors)


def describe_by(name: str, folder: Path) -> Description | None:
    """What describes images for the extractor of this name: None for `own`, which is the judge itself.

    `torchvision:NAME` has its weights in `folder`, as NAME.safetensors with torchvision's names of weights. Raises
    ValueError, one line, for a network that torchvision does not have, and if the file is missing, damaged or of
    another one.
    """
    if name in EXTRACTORS:
        kind = EXTRACTORS[name]
        return None if kind is None else kind()
    network = name.removeprefix(PRETRAINED)
    with torch.device("meta"):
        head = Pretrained(network).head_name
    path = folder / f"{network}.safetensors"
    if not path.is_file():
        raise ValueError(f"judge.weights: {str(folder)!r} has no {path.name} (judge.extractor: {name} reads it there)")
    weights = load_weights(path)
    try:
        return with_pretrained(network, head, weights)
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{path}: not the weights of torchvision's {network} ({one_line(error)})") from error


def with_pretrained(network: str, head: str, weights: Tensors) -> Pretrained:
    """The network with weights of torchvision's names, those of its last layer under `head`.

    Raises KeyError or RuntimeError if they do not fit.
    """
    described = Pretrained(network, len(weights[f"{head}.weight"]))
    renamed = {
        f"head.{name.removeprefix(f'{head}.')}" if name.startswith(f"{head}.") else f"net.{name}": tensor
        for name, tensor in weights.items()
    }
    return with_weights(described, renamed)


def fitted_extractor(name: str, described: Description, images: Tensor, device: torch.device) -> Extractor:
    """The extractor of this name, with the principal components of training images uint8 (N, C, H, W).

    Where the description is whitened, every entry is divided by its spread before, and every component after.
    """
    freeze(described, device)
    with torch.no_grad(), one_thread():
        parts = [described(to_float(batch).to(device)).cpu() for batch in images.split(BATCH_SIZE)]
        mean, basis = principal_components(torch.cat(parts).double(), described.components, described.whitens)
    return Extractor(name, described, mean.float(), basis.float()).to(device)


def principal_components(x: Tensor, number: int, whitens: bool) -> tuple[Tensor, Tensor]:
    """Mean (D,) of x (N, D) float64 and the basis (D, up to `number`) of its principal components.

    With `whitens` the columns of x are scaled to unit variance before and the components after. What does not vary
    gets weight 0.
    """
    mean, variance = x.mean(0), x.var(0, correction=0)
    scale = inverse_root(variance) if whitens else torch.ones_like(variance)
    values, vectors = torch.linalg.eigh(((x - mean) * scale).T.cov(correction=0))
    values, vectors = values.flip(0)[:number], vectors.flip(1)[:, :number]
    return mean, scale[:, None] * vectors * (inverse_root(values) if whitens else 1)


def inverse_root(variance: Tensor) -> Tensor:
    """1 / sqrt(variance), and 0 for variances that are 0 but for rounding."""
    significant = variance > NEGLIGIBLE * variance.max()
    return torch.where(significant, variance, 1).rsqrt() * significant


def opponent(x: Tensor) -> Tensor:
    """RGB (B, 3, H, W) as lightness, red against green, and both against blue; grey images stay as they are."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return torch.stack(
        [(red + green + blue) / 3, (red - green) / math.sqrt(2), (red + green - 2 * blue) / math.sqrt(6)], dim=1
    )


def quadrature_pairs() -> Tensor:
    """An even and an odd filter of every orientation (2 * ORIENTATIONS, 1, 5, 5), of mean 0 and norm 1."""
    offsets = torch.arange(FILTER_SIZE) - FILTER_SIZE // 2
    y, x = (grid.double() for grid in torch.meshgrid(offsets, offsets, indexing="ij"))
    envelope = (-(x.square() + y.square()) / (2 * ENVELOPE**2)).exp()
    filters = []
    for k in range(ORIENTATIONS):
        angle = math.pi * k / ORIENTATIONS
        along = 2 * math.pi / WAVELENGTH * (x * math.cos(angle) + y * math.sin(angle))
        for phase in (0, math.pi / 2):
            wave = envelope * (along + phase).cos()
            wave = wave - envelope * wave.sum() / envelope.sum()
            filters.append(wave / wave.norm())
    return torch.stack(filters).unsqueeze(1).float()


def head_name(net: nn.Module, name: str) -> str:
    """The name of the last linear layer. Raises ValueError if there is none."""
    linear = [path for path, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(
            f"judge.extractor: torchvision's {name} does not end in a linear layer (allowed: such as resnet18)"
        )
    return linear[-1]


EXTRACTORS: dict[str, type[FilterBank] | None] = {"own": None, "fixed": FilterBank}
