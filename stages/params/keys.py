"""The keys of every params file, each with its type and the values it accepts on its own.

Lower bounds are those of the mathematics. Upper bounds stand where nothing useful lies beyond: a larger value is a slip
that would fill the memory or run for months. Keys follow the order of the files, and these the order of the stages.
"""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from diffusion.choices import (
    DATA_SETS,
    DECAYS,
    DEVICES,
    EXTRACTORS,
    GUIDANCE,
    LOGGERS,
    NETS,
    PRECISIONS,
    SAMPLERS,
    SCHEDULES,
    SOLVERS,
    SPACINGS,
    TARGETS,
    TEXT_ENCODERS,
    TRAINING_TIMES,
    WEIGHTINGS,
)
from diffusion.names import fits_a_table
from stages.params.sizes import AUTO

TORCHVISION = re.compile(r"torchvision:[a-z0-9_]{1,40}")


def _distinct(values: list[Any]) -> list[Any]:
    """Tables and pictures show six digits, so values that agree in these would look the same."""
    if len({f"{value + 0:.6g}" if isinstance(value, float) else value for value in values}) < len(values):
        raise ValueError("every value once, compared by six digits")
    return values


def _printable(text: str) -> str:
    if not fits_a_table(text):
        raise ValueError("characters that can be printed")
    return text


def _no_word(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"a list of widths, or {AUTO!r}")
    return value


def _one_of(*allowed: str | int, or_else: str | None = None) -> BeforeValidator:
    """A choice among values of one type: True does not count as 1. `or_else` is what a file may have in its place."""

    def chosen(value: object) -> object:
        if type(value) is not type(allowed[0]) or value not in allowed:
            raise ValueError(", ".join(map(repr, [*allowed, *filter(None, [or_else])])))
        return value

    return BeforeValidator(chosen)


def _extractor(name: object) -> object:
    """Which networks torchvision has is for the stage to say, since params are read without it."""
    if not isinstance(name, str) or not (name in EXTRACTORS or TORCHVISION.fullmatch(name)):
        raise ValueError(f"{', '.join(map(repr, EXTRACTORS))}, 'torchvision:NAME'")
    return name


def _seed(value: object) -> object:
    if value != AUTO and (type(value) is not int or not 0 <= value < 2**63):
        raise ValueError(f"whole numbers from 0 to 2**63 - 1, {AUTO!r}")
    return value


IMAGE_SIZES = range(4, 257)  # pixels
Seed = Annotated[int, Field(ge=0, lt=2**63)]
TrainingSeed = Annotated[int | str, BeforeValidator(_seed)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]  # of a training
Timesteps = Annotated[int, Field(ge=1, le=100_000)]  # of a chain, or a sampler's steps along it
Images = Annotated[int, Field(ge=1, le=1_000_000)]
JudgedImages = Annotated[Images, Field(ge=4)]  # KID needs four
Limit = Annotated[int, Field(ge=0, le=100_000_000)]
Batch = Annotated[int, Field(ge=1, le=65_536)]
Width = Annotated[int, Field(ge=1, le=4096)]
Patch = Annotated[int, _one_of(1, 2, 4, or_else=AUTO)]
Few = Annotated[int, Field(ge=1, le=1000)]
Blocks = Annotated[int, Field(ge=1, le=100)]
Number = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]  # representable in fp32
Positive = Annotated[Number, Field(gt=0)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Tolerance = Annotated[Number, Field(ge=1e-6, le=0.1)]  # the arithmetic is fp32
Folder = Annotated[str, AfterValidator(_printable)]
Value = TypeVar("Value")
Distinct = Annotated[list[Value], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
Scale = Annotated[Number, Field(ge=0, le=1000)]  # of guidance
Scales = Distinct[Scale]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]  # of log-SNR
MultipleOf8 = Annotated[Width, Field(ge=8, multiple_of=8)]
Widths = Annotated[list[MultipleOf8], Field(min_length=1, max_length=8), BeforeValidator(_no_word)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Training(Section):
    """What every training has."""

    steps: Steps
    batch_size: Batch
    learning_rate: Positive
    log_every: Steps


class Data(Section):
    dataset: Annotated[str, _one_of(*DATA_SETS)]
    root: Folder
    image_size: Annotated[int, Field(ge=IMAGE_SIZES[0], le=IMAGE_SIZES[-1])]
    channels: Annotated[int, _one_of(1, 3)]
    train_limit: Limit
    test_limit: Limit


class Judge(Training):
    augment: bool
    extractor: Annotated[str, BeforeValidator(_extractor)]
    weights: Folder


class Net(Section):
    channels: Widths
    blocks: Blocks


class Latent(Net):
    attention_heads: Annotated[int, Field(ge=0, le=1024)]
    dropout: Share


class Model(Latent):
    kind: Annotated[str, _one_of(*NETS)]
    patch: Patch
    width: MultipleOf8
    depth: Blocks


class Train(Training):
    decay: Annotated[str, _one_of(*DECAYS)]
    adam_beta2: Share
    weight_decay: Weight
    warmup_steps: Limit
    max_grad_norm: Positive
    ema_decay: Share
    label_dropout: Share
    target: Annotated[str, _one_of(*TARGETS)]
    times: Annotated[str, _one_of(*TRAINING_TIMES)]
    weighting: Annotated[str, _one_of(*WEIGHTINGS)]
    compile: bool


class TrainPixels(Train):
    seed: TrainingSeed
    early_share: Annotated[Number, Field(gt=0, le=1)]
    flips: bool


class Setting(Section):
    """Of a sampler that takes fewer steps than all."""

    sampler: Annotated[str, _one_of(*(name for name in SAMPLERS if name != "ddpm"))]
    num_steps: Timesteps
    eta: Annotated[Number, Field(ge=0, le=1)]
    spacing: Annotated[str, _one_of(*SPACINGS)]

    def setting(self) -> dict[str, Any]:
        """The fields of `samplers.table.SamplerSetting`; of all samplers, DDIM alone has an eta."""
        eta = self.eta if self.sampler == "ddim" else None
        return {"sampler": self.sampler, "steps": self.num_steps, "eta": eta, "spacing": self.spacing}


class Sampling(Setting):
    batch_size: Batch
    sampler_samples: Images
    ddpm_samples: Annotated[Images, Field(ge=16)]
    ddim_steps: Distinct[Timesteps]
    etas: Distinct[Annotated[Number, Field(ge=0, le=1)]]
    eta_steps: Distinct[Timesteps]
    solvers: Distinct[Annotated[str, _one_of(*SOLVERS)]]
    solver_steps: Distinct[Timesteps]
    solver_spacing: Annotated[str, _one_of(*SPACINGS)]

    def comparison(self) -> dict[str, Any]:
        """The arguments of `samplers.table.comparison` except T."""
        names = {"ddim_steps", "etas", "eta_steps", "solvers", "solver_steps", "solver_spacing"}
        return self.model_dump(include=names)


class Recommended(Setting):
    guidance: Annotated[str, _one_of(*GUIDANCE)]
    scale: Scale
    interval: Interval


class Evaluate(Section):
    num_samples: Images


class Benchmark(Section):
    num_images: Batch
    repeats: Few


class Guidance(Section):
    scales: Scales
    auto_scales: Scales
    interval: Interval
    rescale: Annotated[Number, Field(ge=0, le=1)]
    num_steps: Timesteps
    samples_per_class: Images


class Score(Section):
    sde_steps: Distinct[Annotated[Timesteps, Field(ge=2)]]
    heun_steps: Timesteps
    tolerance: Tolerance
    mixture_steps: Steps
    likelihood_images: Annotated[Images, Field(ge=2)]
    log_snr_bins: Timesteps
    ode_images: Annotated[Images, Field(ge=2)]
    ode_tolerance: Tolerance
    inversion_steps: Distinct[Timesteps]
    inversion_images: Annotated[Batch, Field(ge=12)]  # six pairs to interpolate between


class Autoencoder(Training):
    latent_channels: Annotated[int, Field(ge=1, le=256)]
    channels: Widths
    kl_weight: Weight


class Captions(Section):
    per_image: Few
    left_out: Share
    held_out: Few | Annotated[str, _one_of("auto")]
    properties: Annotated[str, _one_of("auto", "strokes", "image")]


class Text(Section):
    encoder: Annotated[str, _one_of(*TEXT_ENCODERS)]
    folder: Folder
    width: Width
    layers: Annotated[int, Field(ge=0, le=100)]
    heads: Width


class SampleLatent(Section):
    scales: Scales
    num_prompts: Images
    num_samples: JudgedImages
    num_steps: Timesteps


class Vae(Training, Net):
    latent: Width
    mixtures: Annotated[int, Field(ge=1, le=100)]
    patch: Patch
    weight_decay: Weight
    kl_weight: Positive
    kl_warmup_steps: Limit
    ema_decay: Share


class Gan(Training, Net):
    latent: Width
    patch: Patch
    adam_beta1: Share
    r1_weight: Weight
    r1_every: Steps
    ema_decay: Share


class Compare(Section):
    num_samples: JudgedImages
    ddim_steps: Distinct[Timesteps]
    classifier_steps: Steps
    importance_samples: Few
    batch_sizes: Distinct[Batch]
    repeats: Few


class Keys(Section):
    """All keys of the spine."""

    FILE: ClassVar[Path] = Path("params.yaml")

    seed: Seed
    device: Annotated[str, _one_of(*DEVICES)]
    precision: Annotated[str, _one_of(*PRECISIONS)]
    shards: Annotated[int, Field(ge=1, le=64)]
    processes: Annotated[int, Field(ge=1, le=1024)] | Annotated[str, _one_of("auto")]
    checkpoint_seconds: Weight
    logger: Annotated[str, _one_of(*LOGGERS)]
    schedule: Annotated[str, _one_of(*SCHEDULES)]
    timesteps: Timesteps
    data: Data
    judge: Judge
    model: Model
    train: TrainPixels
    sampling: Sampling
    recommended: Recommended
    evaluate: Evaluate
    benchmark: Benchmark
    guidance: Guidance


class ScoreKeys(Keys):
    """The keys of the spine and those of the chapter on the score."""

    FILE: ClassVar[Path] = Path("chapters/score/params.yaml")

    score: Score


class LatentKeys(Keys):
    """The keys of the spine and those of the chapter on latent diffusion."""

    FILE: ClassVar[Path] = Path("chapters/latent/params.yaml")

    autoencoder: Autoencoder
    captions: Captions
    text: Text
    latent: Latent
    train_latent: Train
    sample_latent: SampleLatent


class BaselineKeys(Keys):
    """The keys of the spine and those of the chapter on GAN and VAE."""

    FILE: ClassVar[Path] = Path("chapters/baselines/params.yaml")

    vae: Vae
    gan: Gan
    compare: Compare


class AllKeys(ScoreKeys, LatentKeys, BaselineKeys):
    """The keys of the spine and of every chapter."""
