"""The keys of every params file, in the order of the files, and these in the order of the stages."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from diffusion.choices import (
    DATA_SETS,
    DECAYS,
    DEVICES,
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
from stages.params.values import (
    IMAGE_SIZES,
    Batch,
    Blocks,
    Distinct,
    Extractor,
    Few,
    Folder,
    Images,
    Interval,
    JudgedImages,
    Limit,
    MultipleOf8,
    Number,
    Patch,
    Positive,
    Scale,
    Scales,
    Seed,
    Share,
    Steps,
    Timesteps,
    Tolerance,
    TrainingSeed,
    Weight,
    Width,
    Widths,
    one_of,
)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Training(Section):
    """What every training has."""

    steps: Steps
    batch_size: Batch
    learning_rate: Positive
    log_every: Steps


class Data(Section):
    dataset: Annotated[str, one_of(*DATA_SETS)]
    root: Folder
    image_size: Annotated[int, Field(ge=IMAGE_SIZES[0], le=IMAGE_SIZES[-1])]
    channels: Annotated[int, one_of(1, 3)]
    train_limit: Limit
    test_limit: Limit


class Judge(Training):
    augment: bool
    extractor: Extractor
    weights: Folder


class Net(Section):
    channels: Widths
    blocks: Blocks


class Latent(Net):
    attention_heads: Annotated[int, Field(ge=0, le=1024)]
    dropout: Share


class Model(Latent):
    kind: Annotated[str, one_of(*NETS)]
    patch: Patch
    width: MultipleOf8
    depth: Blocks


class Train(Training):
    decay: Annotated[str, one_of(*DECAYS)]
    adam_beta2: Share
    weight_decay: Weight
    warmup_steps: Limit
    max_grad_norm: Positive
    ema_decay: Share
    label_dropout: Share
    target: Annotated[str, one_of(*TARGETS)]
    times: Annotated[str, one_of(*TRAINING_TIMES)]
    weighting: Annotated[str, one_of(*WEIGHTINGS)]
    compile: bool


class TrainPixels(Train):
    seed: TrainingSeed
    early_share: Annotated[Number, Field(gt=0, le=1)]
    flips: bool


class Setting(Section):
    """Of a sampler that takes fewer steps than all."""

    sampler: Annotated[str, one_of(*(name for name in SAMPLERS if name != "ddpm"))]
    num_steps: Timesteps
    eta: Annotated[Number, Field(ge=0, le=1)]
    spacing: Annotated[str, one_of(*SPACINGS)]

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
    solvers: Distinct[Annotated[str, one_of(*SOLVERS)]]
    solver_steps: Distinct[Timesteps]
    solver_spacing: Annotated[str, one_of(*SPACINGS)]

    def comparison(self) -> dict[str, Any]:
        """The arguments of `samplers.table.comparison` except T."""
        names = {"ddim_steps", "etas", "eta_steps", "solvers", "solver_steps", "solver_spacing"}
        return self.model_dump(include=names)


class Recommended(Setting):
    guidance: Annotated[str, one_of(*GUIDANCE)]
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
    held_out: Few | Annotated[str, one_of("auto")]
    properties: Annotated[str, one_of("auto", "strokes", "image")]


class Text(Section):
    encoder: Annotated[str, one_of(*TEXT_ENCODERS)]
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
    device: Annotated[str, one_of(*DEVICES)]
    precision: Annotated[str, one_of(*PRECISIONS)]
    shards: Annotated[int, Field(ge=1, le=64)]
    processes: Annotated[int, Field(ge=1, le=1024)] | Annotated[str, one_of("auto")]
    checkpoint_seconds: Weight
    logger: Annotated[str, one_of(*LOGGERS)]
    schedule: Annotated[str, one_of(*SCHEDULES)]
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
