"""Which values of different keys go together.

Every rule yields the conflicts that it finds; a user reads all of them in one line.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import lcm
from operator import attrgetter
from typing import NamedTuple

from diffusion.choices import DATA_SETS, TARGETS, WITHOUT_SIGNAL
from stages.params.keys import BaselineKeys, Gan, Keys, Latent, LatentKeys, Model, ScoreKeys, Vae
from stages.params.values import IMAGE_SIZES

LEAST_SCALED = 21  # timesteps of a schedule whose betas are scaled by 1000 / T: with fewer, betas reach 1
SHOWN = 4  # conflicts in a message


class Conflict(NamedTuple):
    """A value that does not go with those of other keys, and what these allow."""

    key: str
    value: object
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}: {self.value} is not possible (allowed: {self.allowed})"


def in_one_line(found: Sequence[object]) -> str:
    """All conflicts as one message; of many, the first and how many more there are."""
    more = len(found) - SHOWN
    return "; ".join(map(str, found[:SHOWN])) + (f"; and {more} more" if more > 0 else "")


def conflicts(keys: Keys) -> Iterator[Conflict]:
    """All conflicts among the keys of the spine and of the chapters that `keys` includes."""
    for kind, rules in RULES.items():
        if isinstance(keys, kind):
            yield from chain.from_iterable(rule(keys) for rule in rules)


def steps_within_timesteps(keys: Keys) -> Iterator[Conflict]:
    """A sampler takes at most one step for each timestep."""
    for section, names in {
        "sampling": ("num_steps", "ddim_steps", "eta_steps", "solver_steps"),
        "recommended": ("num_steps",),
        "guidance": ("num_steps",),
    }.items():
        yield from _steps(keys, section, names)


def schedule_can_be_built(keys: Keys) -> Iterator[Conflict]:
    """Betas stay under 1."""
    if keys.schedule in ("linear", "linear_zero_snr") and keys.timesteps < LEAST_SCALED:
        allowed = f"{LEAST_SCALED} or more for schedule {keys.schedule}, whose scaled betas reach 1 otherwise"
        yield Conflict("timesteps", keys.timesteps, allowed)


def target_is_defined(keys: Keys) -> Iterator[Conflict]:
    """Noise alone does not determine the image that it hides."""
    yield from _target(keys, "train")


def images_can_be_divided(keys: Keys) -> Iterator[Conflict]:
    """The image size is halved from level to level of the U-Net, or cut into patches by the transformer."""
    yield from _sizes(keys, "model.channels" if keys.model.kind == "unet" else "model.patch")


def heads_share_the_width(keys: Keys) -> Iterator[Conflict]:
    """The heads of attention share the width of the last level evenly, or that of the transformer, which needs some."""
    net = keys.model
    if net.kind == "unet":
        yield from _heads("model", net)
    elif net.kind == "dit" and (not net.attention_heads or net.width % net.attention_heads):
        yield Conflict("model.attention_heads", net.attention_heads, f"a divisor of model.width, {net.width}")


def interval_rises(keys: Keys) -> Iterator[Conflict]:
    """Every guidance interval runs from a lower to a higher log-SNR."""
    for section in ("guidance", "recommended"):
        first, last = interval = getattr(keys, section).interval
        if first >= last:
            yield Conflict(f"{section}.interval", interval, "from a lower to a higher log-SNR")


def samples_within_samples(keys: Keys) -> Iterator[Conflict]:
    """The samples of a sampler are the first of the verdict's, and DDPM's the first of these."""
    yield from _within(keys, "sampling.sampler_samples", "evaluate.num_samples")
    yield from _within(keys, "sampling.ddpm_samples", "sampling.sampler_samples")


def score_steps_within_timesteps(keys: ScoreKeys) -> Iterator[Conflict]:
    """A sampler takes at most one step for each timestep."""
    yield from _steps(keys, "score", ("sde_steps", "heun_steps", "inversion_steps"))


def ode_images_within_images(keys: ScoreKeys) -> Iterator[Conflict]:
    """The images whose likelihood the ODE computes are the first of those that are bounded."""
    yield from _within(keys, "score.ode_images", "score.likelihood_images")


def latent_steps_within_timesteps(keys: LatentKeys) -> Iterator[Conflict]:
    """A sampler takes at most one step for each timestep."""
    yield from _steps(keys, "sample_latent", ("num_steps",))


def latent_target_is_defined(keys: LatentKeys) -> Iterator[Conflict]:
    """Noise alone does not determine the latent that it hides."""
    yield from _target(keys, "train_latent")


def latents_can_be_halved(keys: LatentKeys) -> Iterator[Conflict]:
    """The autoencoder halves images as often as it has widths, the U-Net halves what is left."""
    yield from _sizes(keys, "autoencoder.channels") or _sizes(keys, "latent.channels")


def latent_heads_share_the_width(keys: LatentKeys) -> Iterator[Conflict]:
    """The heads share the width evenly; latents attend to captions in any case."""
    yield from _heads("latent", keys.latent)
    if not keys.latent.attention_heads:
        yield Conflict("latent.attention_heads", 0, "1 or more, to attend to captions")
    if keys.text.width % keys.text.heads:
        yield Conflict("text.heads", keys.text.heads, f"a divisor of text.width = {keys.text.width}")


def baseline_steps_within_timesteps(keys: BaselineKeys) -> Iterator[Conflict]:
    """A sampler takes at most one step for each timestep."""
    yield from _steps(keys, "compare", ("ddim_steps",))


def baseline_images_can_be_halved(keys: BaselineKeys) -> Iterator[Conflict]:
    """The image size is halved from level to level of both baselines."""
    yield from _sizes(keys, "vae.channels")
    yield from _sizes(keys, "gan.channels")


RULES: dict[type[Keys], tuple[Callable[..., Iterator[Conflict]], ...]] = {
    Keys: (
        steps_within_timesteps,
        schedule_can_be_built,
        target_is_defined,
        images_can_be_divided,
        heads_share_the_width,
        interval_rises,
        samples_within_samples,
    ),
    ScoreKeys: (score_steps_within_timesteps, ode_images_within_images),
    LatentKeys: (
        latent_steps_within_timesteps,
        latent_target_is_defined,
        latents_can_be_halved,
        latent_heads_share_the_width,
    ),
    BaselineKeys: (baseline_steps_within_timesteps, baseline_images_can_be_halved),
}


def image_size(keys: Keys) -> int:
    """The side of the data set's images, in pixels."""
    return DATA_SETS[keys.data.dataset].image_size or keys.data.image_size


def _steps(keys: Keys, section: str, names: Sequence[str]) -> Iterator[Conflict]:
    for name in names:
        found = getattr(getattr(keys, section), name)
        for number in found if isinstance(found, list) else [found]:
            if number > keys.timesteps:
                yield Conflict(f"{section}.{name}", number, f"1 to timesteps = {keys.timesteps}")


def _target(keys: Keys, section: str) -> Iterator[Conflict]:
    target = getattr(keys, section).target
    if keys.schedule in WITHOUT_SIGNAL and target == "eps":
        others = ", ".join(name for name in TARGETS if name != target)
        allowed = f"{others} with schedule {keys.schedule}, where alpha_bar_T = 0 has no eps"
        yield Conflict(f"{section}.target", target, allowed)


def _within(keys: Keys, part: str, whole: str) -> Iterator[Conflict]:
    number, most = (attrgetter(key)(keys) for key in (part, whole))
    if number > most:
        yield Conflict(part, number, f"up to {whole} = {most}")


def _sizes(keys: Keys, key: str) -> list[Conflict]:
    """The image size is a multiple of what a key asks for. It is to blame itself where the user chose it."""
    size, multiples = image_size(keys), multiples_of(keys)
    number, formula = multiples[key]
    if size % number == 0:
        return []
    if DATA_SETS[keys.data.dataset].image_size:
        return [Conflict(key, attrgetter(key)(keys), f"{formula}, here {number}, divides the image size {size}")]
    common = lcm(*(number for number, _ in multiples.values()))
    near = [other for other in (size // common * common, (size // common + 1) * common) if other in IMAGE_SIZES]
    sizes = f"{' or '.join(map(str, near))}, multiples of {common}" if near else "none"
    allowed = f"{sizes}; {key} decides, whose {formula} = {number} divides it"
    return [Conflict("data.image_size", size, allowed)]


def multiples_of(keys: Keys) -> dict[str, tuple[int, str]]:
    """What the image size is a multiple of, by the key that asks for it, with its formula."""
    nets: dict[str, Vae | Gan | Model] = {"model": keys.model} if keys.model.kind == "unet" else {}
    if isinstance(keys, BaselineKeys):
        nets |= {"vae": keys.vae, "gan": keys.gan}
    found = {} if nets.get("model") else {"model.patch": (keys.model.patch, "value")}
    found |= {
        f"{name}.channels": (net.patch * 2 ** (len(net.channels) - 1), "patch * 2^(levels - 1)")
        for name, net in nets.items()
    }
    if isinstance(keys, LatentKeys):
        folds, levels = len(keys.autoencoder.channels), len(keys.latent.channels)
        found["autoencoder.channels"] = (2**folds, "2^widths")
        found["latent.channels"] = (2 ** (folds + levels - 1), "2^(levels - 1) after the autoencoder's 2^widths")
    return found


def _heads(section: str, net: Latent) -> Iterator[Conflict]:
    """Attention stands at the last level."""
    last = net.channels[-1]
    if net.attention_heads and last % net.attention_heads:
        allowed = f"0 or a divisor of the last of {section}.channels, {last}"
        yield Conflict(f"{section}.attention_heads", net.attention_heads, allowed)
