"""params.yaml as validated models: every key must stand in the file, every wrong value is refused in one line.

It can only accept or refuse a run and never changes a result, so no stage lists it as a dependency.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator


def _number(value: Any) -> Any:
    """DVC writes 0.00001 as `1e-05`, which YAML 1.1 reads as a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Scale = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Counts = Annotated[list[Count], Field(min_length=1)]
Widths = Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Field(min_length=1)]

Conflict = tuple[str, object, str]
IMAGE_SIZES = {"digits": 8, "mnist5k": 28, "mnist": 28, "fashion_mnist": 28, "kmnist": 28}


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(Section):
    dataset: Literal["mnist5k", "mnist", "fashion_mnist", "kmnist", "digits", "folder"]
    root: str
    image_size: Annotated[int, Field(ge=4, le=256)]
    channels: Literal[1, 3]
    train_limit: Natural
    test_limit: Natural


class Judge(Section):
    steps: Count
    batch_size: Count
    learning_rate: Positive


class Net(Section):
    channels: Widths
    blocks: Count


class Latent(Net):
    attention_heads: Natural
    dropout: Share


class Model(Latent):
    patch: Literal[1, 2, 4]


class Train(Section):
    steps: Count
    batch_size: Count
    learning_rate: Positive
    decay: Literal["constant", "cosine", "late"]
    adam_beta2: Share
    weight_decay: Scale
    warmup_steps: Natural
    max_grad_norm: Positive
    ema_decay: Share
    label_dropout: Share
    target: Literal["eps", "x0", "v"]
    times: Literal["uniform", "cosine", "focused"]
    weighting: Literal["none", "min_snr"]
    compile: bool
    log_every: Count
    checkpoint_seconds: Scale


class Autoencoder(Section):
    latent_channels: Count
    channels: Widths
    steps: Count
    batch_size: Count
    learning_rate: Positive
    kl_weight: Scale
    log_every: Count
    checkpoint_seconds: Scale


class Captions(Section):
    per_image: Count
    left_out: Share
    held_out: Count


class Text(Section):
    encoder: Literal["own", "clip"]
    clip_folder: str
    width: Count
    layers: Natural
    heads: Count


class SampleLatent(Section):
    scales: Annotated[list[Scale], Field(min_length=1)]
    num_prompts: Count
    num_samples: Count
    steps: Count


class Evaluate(Section):
    num_samples: Count
    sampler_samples: Count
    ddpm_samples: Annotated[int, Field(ge=16)]
    verdict_steps: Count
    steps: Counts
    etas: Annotated[list[Annotated[Number, Field(ge=0, le=1)]], Field(min_length=1)]
    eta_steps: Counts
    solvers: Annotated[list[Literal["heun", "dpmpp_2m", "sde_dpmpp_2m", "unipc"]], Field(min_length=1)]
    solver_steps: Counts
    solver_times: Literal["trailing", "log_snr", "karras"]
    batch_size: Count

    def comparison(self) -> dict[str, Any]:
        """What `sampler.comparison` wants beside T."""
        return self.model_dump(include={"steps", "etas", "eta_steps", "solvers", "solver_steps", "solver_times"})


class Benchmark(Section):
    num_images: Count
    repeats: Count


class Guidance(Section):
    scales: Annotated[list[Scale], Field(min_length=1)]
    interval: Annotated[list[Number], Field(min_length=2, max_length=2)]
    rescale: Annotated[Number, Field(ge=0, le=1)]
    steps: Count
    samples_per_class: Count


class Score(Section):
    sde_steps: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    heun_steps: Count
    tolerance: Annotated[Positive, Field(le=0.1)]
    mixture_steps: Count
    likelihood_images: Annotated[int, Field(ge=2)]
    stretches: Count
    ode_images: Annotated[int, Field(ge=2)]
    ode_tolerance: Annotated[Positive, Field(le=0.1)]
    inversion_steps: Counts
    inversion_images: Annotated[int, Field(ge=12)]  # six pairs to interpolate between


class Vae(Net):
    patch: Literal[1, 2, 4]
    latent: Count
    mixtures: Count
    steps: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: Scale
    kl_weight: Positive
    kl_warmup_steps: Natural
    ema_decay: Share
    log_every: Count
    checkpoint_seconds: Scale


class Gan(Net):
    patch: Literal[1, 2, 4]
    latent: Count
    steps: Count
    batch_size: Count
    learning_rate: Positive
    adam_beta1: Share
    r1_weight: Scale
    r1_every: Count
    ema_decay: Share
    log_every: Count
    checkpoint_seconds: Scale


class Compare(Section):
    num_samples: Count
    steps: Counts
    importance_samples: Count
    batch_sizes: Counts
    repeats: Count


class Params(Section):
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16"]
    schedule: Literal["linear", "linear_unscaled", "cosine", "sigmoid", "linear_zero_snr"]
    timesteps: Count
    data: Data
    judge: Judge
    model: Model
    train: Train
    autoencoder: Autoencoder
    captions: Captions
    text: Text
    latent: Latent
    train_latent: Train
    sample_latent: SampleLatent
    evaluate: Evaluate
    benchmark: Benchmark
    guidance: Guidance
    score: Score
    vae: Vae
    gan: Gan
    compare: Compare

    @classmethod
    def load(cls, path: Path) -> Self:
        """The params in a YAML file. Raises ValueError, one line, for the first key that is wrong."""
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not valid YAML ({error})") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(f"{path}: {_describe(error.errors()[0])}") from error

    def changed(self, changes: Sequence[str]) -> Self:
        """With other values, each as `section.key=value`. Raises ValueError for a key or value that cannot be."""
        content = self.model_dump()
        for change in changes:
            path, _, value = change.partition("=")
            *sections, key = path.split(".")
            section = content
            for name in sections:
                section = section.get(name, {})
            if key not in section:
                raise ValueError(f"{path}: unknown key (allowed: those of params.yaml, as section.key=value)")
            section[key] = yaml.safe_load(value)
        try:
            return type(self).model_validate(content)
        except ValidationError as error:
            raise ValueError(_describe(error.errors()[0])) from error

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for key, wrong, allowed in [
            *self._steps(),
            *self._target(),
            *self._sizes(),
            *self._interval(),
            *self._numbers(),
        ]:
            if wrong:
                raise ValueError(f"{key}: {wrong} is not possible (allowed: {allowed})")
        return self

    # Each of these lists (key, the value that does not go with other keys or a false one, what is allowed).

    def _steps(self) -> list[Conflict]:
        evaluate, last = self.evaluate, self.timesteps
        steps = {
            "evaluate.verdict_steps": [evaluate.verdict_steps],
            "evaluate.steps": evaluate.steps,
            "evaluate.eta_steps": evaluate.eta_steps,
            "evaluate.solver_steps": evaluate.solver_steps,
            "guidance.steps": [self.guidance.steps],
            "score.sde_steps": self.score.sde_steps,
            "score.heun_steps": [self.score.heun_steps],
            "score.inversion_steps": self.score.inversion_steps,
            "sample_latent.steps": [self.sample_latent.steps],
            "compare.steps": self.compare.steps,
        }
        return [
            (key, next((number for number in values if number > last), None), f"1 to timesteps = {last}")
            for key, values in steps.items()
        ]

    def _target(self) -> list[Conflict]:
        scaled = self.schedule in ("linear", "linear_zero_snr")
        trained = {"train": self.train, "train_latent": self.train_latent}
        return [
            (
                "timesteps",
                scaled and self.timesteps <= 20 and self.timesteps,
                f"21 or more for schedule {self.schedule}, whose scaled betas reach 1 otherwise",
            ),
            *(
                (
                    f"{section}.target",
                    self.schedule == "linear_zero_snr" and train.target == "eps" and "eps",
                    "x0, v with schedule linear_zero_snr, where alpha_bar_T = 0 has no eps",
                )
                for section, train in trained.items()
            ),
        ]

    def _sizes(self) -> list[Conflict]:
        size, folded = IMAGE_SIZES.get(self.data.dataset, self.data.image_size), 2 ** len(self.autoencoder.channels)
        return [
            *(
                _levels(name, net, net.patch, size)
                for name, net in (("model", self.model), ("vae", self.vae), ("gan", self.gan))
            ),
            _heads("model", self.model),
            (
                "autoencoder.channels",
                size % folded and self.autoencoder.channels,
                f"2^widths, here {folded}, divides the image size {size}",
            ),
            _levels("latent", self.latent, 1, size // folded),
            _heads("latent", self.latent),
            ("latent.attention_heads", not self.latent.attention_heads and "0", "1 or more, to attend to captions"),
            (
                "text.heads",
                self.text.width % self.text.heads and self.text.heads,
                f"a divisor of text.width = {self.text.width}",
            ),
        ]

    def _interval(self) -> list[Conflict]:
        first, last = self.guidance.interval
        return [("guidance.interval", first >= last and self.guidance.interval, "from a lower to a higher log-SNR")]

    def _numbers(self) -> list[Conflict]:
        evaluate, limit = self.evaluate, self.data.train_limit
        trainings = {
            name: getattr(self, name) for name in ("train", "judge", "vae", "gan", "autoencoder", "train_latent")
        }
        at_most = {
            **{
                f"{name}.batch_size": (training.batch_size, limit or math.inf, f"{limit} images")
                for name, training in trainings.items()
            },
            "evaluate.sampler_samples": (
                evaluate.sampler_samples,
                evaluate.num_samples,
                f"evaluate.num_samples = {evaluate.num_samples}",
            ),
            "evaluate.ddpm_samples": (
                evaluate.ddpm_samples,
                evaluate.sampler_samples,
                f"evaluate.sampler_samples = {evaluate.sampler_samples}",
            ),
            "score.ode_images": (
                self.score.ode_images,
                self.score.likelihood_images,
                f"score.likelihood_images = {self.score.likelihood_images}",
            ),
        }
        return [(key, number > most and number, f"up to {text}") for key, (number, most, text) in at_most.items()]


def _levels(section: str, net: Net, patch: int, size: int) -> Conflict:
    """Images of this size must be halved from level to level."""
    divisor = patch * 2 ** (len(net.channels) - 1)
    allowed = f"patch * 2^(levels - 1), here {divisor}, divides the image size {size}"
    return f"{section}.channels", size % divisor and net.channels, allowed


def _heads(section: str, net: Latent) -> Conflict:
    """Attention stands at the last level."""
    heads, last = net.attention_heads, net.channels[-1]
    allowed = f"0 or a divisor of the last of {section}.channels, {last}"
    return f"{section}.attention_heads", heads and last % heads and heads, allowed


def _describe(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{key}: the key is missing (every key must stand in the file)"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    return f"{key}: {error['input']!r} is not possible ({error['msg']})"
