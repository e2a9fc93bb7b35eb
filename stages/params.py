"""params.yaml as validated models: every key must stand in the file, every wrong value is refused in one line.

It can only accept or refuse a run and never changes a result, so no stage lists it as a dependency.
"""

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


class Model(Section):
    patch: Literal[1, 2, 4]
    channels: Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Field(min_length=1)]
    blocks: Count
    attention_heads: Natural
    dropout: Share


class Train(Section):
    steps: Count
    batch_size: Count
    learning_rate: Positive
    decay: Literal["constant", "cosine"]
    adam_beta2: Share
    weight_decay: Scale
    warmup_steps: Natural
    max_grad_norm: Positive
    ema_decay: Share
    label_dropout: Share
    target: Literal["eps", "x0", "v"]
    weighting: Literal["none", "min_snr"]
    log_every: Count
    checkpoint_seconds: Scale


class Evaluate(Section):
    num_samples: Count
    sampler_samples: Count
    ddpm_samples: Annotated[int, Field(ge=16)]
    verdict_steps: Count
    steps: Counts
    etas: Annotated[list[Annotated[Number, Field(ge=0, le=1)]], Field(min_length=1)]
    eta_steps: Counts
    solver_steps: Counts
    batch_size: Count


class Benchmark(Section):
    num_images: Count
    repeats: Count


class Guidance(Section):
    scales: Annotated[list[Scale], Field(min_length=1)]
    steps: Count
    samples_per_class: Count


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
    evaluate: Evaluate
    benchmark: Benchmark
    guidance: Guidance

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

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for key, wrong, allowed in self._conflicts():
            if wrong is not None:
                raise ValueError(f"{key}: {wrong} is not possible (allowed: {allowed})")
        return self

    def _conflicts(self) -> list[tuple[str, object, str]]:
        """(key, the value that does not go with other keys or None, what is allowed)."""
        data, model, evaluate = self.data, self.model, self.evaluate
        size = IMAGE_SIZES.get(data.dataset, data.image_size)
        divisor = model.patch * 2 ** (len(model.channels) - 1)
        scaled = self.schedule in ("linear", "linear_zero_snr")
        steps = {
            "evaluate.verdict_steps": [evaluate.verdict_steps],
            "evaluate.steps": evaluate.steps,
            "evaluate.eta_steps": evaluate.eta_steps,
            "evaluate.solver_steps": evaluate.solver_steps,
            "guidance.steps": [self.guidance.steps],
        }
        return [
            *(
                (key, next((s for s in values if s > self.timesteps), None), f"1 to timesteps = {self.timesteps}")
                for key, values in steps.items()
            ),
            (
                "timesteps",
                self.timesteps if scaled and self.timesteps <= 20 else None,
                f"21 or more for schedule {self.schedule}, whose scaled betas reach 1 otherwise",
            ),
            (
                "train.target",
                "eps" if self.schedule == "linear_zero_snr" and self.train.target == "eps" else None,
                "x0, v with schedule linear_zero_snr, where alpha_bar_T = 0 has no eps",
            ),
            (
                "model.channels",
                model.channels if size % divisor else None,
                f"patch * 2^(levels - 1), here {divisor}, divides the image size {size}",
            ),
            (
                "model.attention_heads",
                model.attention_heads if model.attention_heads and model.channels[-1] % model.attention_heads else None,
                f"0 or a divisor of the last of model.channels, {model.channels[-1]}",
            ),
            *(
                (
                    key,
                    batch if data.train_limit and batch > data.train_limit else None,
                    f"up to {data.train_limit} images",
                )
                for key, batch in (
                    ("train.batch_size", self.train.batch_size),
                    ("judge.batch_size", self.judge.batch_size),
                )
            ),
            (
                "evaluate.sampler_samples",
                evaluate.sampler_samples if evaluate.sampler_samples > evaluate.num_samples else None,
                f"up to evaluate.num_samples = {evaluate.num_samples}",
            ),
            (
                "evaluate.ddpm_samples",
                evaluate.ddpm_samples if evaluate.ddpm_samples > evaluate.sampler_samples else None,
                f"up to evaluate.sampler_samples = {evaluate.sampler_samples}",
            ),
        ]


def _describe(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{key}: the key is missing (every key must stand in the file)"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    return f"{key}: {error['input']!r} is not possible ({error['msg']})"
