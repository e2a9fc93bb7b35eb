"""What the keys of params.yaml may hold together: the rules between one key and others.

Every rule yields its conflicts, so the first of all rules is the one that a user reads.
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from stages.params.keys import Keys, Latent, Net

IMAGE_SIZES = {"digits": 8, "mnist5k": 28, "mnist": 28, "fashion_mnist": 28, "kmnist": 28}
LEAST_SCALED = 21  # timesteps of a schedule whose betas are scaled by 1000 / T: with fewer, betas reach 1


class Conflict(NamedTuple):
    """A value that other keys do not go with, and what they allow."""

    key: str
    value: object
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}: {self.value} is not possible (allowed: {self.allowed})"


def conflicts(keys: Keys) -> Iterator[Conflict]:
    """Of all rules."""
    return chain.from_iterable(rule(keys) for rule in RULES)


def steps_within_timesteps(keys: Keys) -> Iterator[Conflict]:
    """A sampler takes at most one step for each timestep."""
    steps = {
        "evaluate.verdict_steps": [keys.evaluate.verdict_steps],
        "evaluate.steps": keys.evaluate.steps,
        "evaluate.eta_steps": keys.evaluate.eta_steps,
        "evaluate.solver_steps": keys.evaluate.solver_steps,
        "guidance.steps": [keys.guidance.steps],
        "score.sde_steps": keys.score.sde_steps,
        "score.heun_steps": [keys.score.heun_steps],
        "score.inversion_steps": keys.score.inversion_steps,
        "sample_latent.steps": [keys.sample_latent.steps],
        "compare.steps": keys.compare.steps,
    }
    for key, numbers in steps.items():
        for number in numbers:
            if number > keys.timesteps:
                yield Conflict(key, number, f"1 to timesteps = {keys.timesteps}")


def schedule_can_be_built(keys: Keys) -> Iterator[Conflict]:
    """Betas stay under 1."""
    if keys.schedule in ("linear", "linear_zero_snr") and keys.timesteps < LEAST_SCALED:
        allowed = f"{LEAST_SCALED} or more for schedule {keys.schedule}, whose scaled betas reach 1 otherwise"
        yield Conflict("timesteps", keys.timesteps, allowed)


def target_is_defined(keys: Keys) -> Iterator[Conflict]:
    """Noise alone does not tell which image it hides."""
    for section, train in {"train": keys.train, "train_latent": keys.train_latent}.items():
        if keys.schedule == "linear_zero_snr" and train.target == "eps":
            allowed = "x0, v with schedule linear_zero_snr, where alpha_bar_T = 0 has no eps"
            yield Conflict(f"{section}.target", train.target, allowed)


def images_can_be_halved(keys: Keys) -> Iterator[Conflict]:
    """From level to level of every network."""
    size, folded = image_size(keys), 2 ** len(keys.autoencoder.channels)
    for section, net in {"model": keys.model, "vae": keys.vae, "gan": keys.gan}.items():
        yield from _levels(section, net, net.patch, size)
    if size % folded:
        allowed = f"2^widths, here {folded}, divides the image size {size}"
        yield Conflict("autoencoder.channels", keys.autoencoder.channels, allowed)
    else:
        yield from _levels("latent", keys.latent, 1, size // folded)


def heads_share_the_width(keys: Keys) -> Iterator[Conflict]:
    """Evenly; latents attend to captions in any case."""
    yield from _heads("model", keys.model)
    yield from _heads("latent", keys.latent)
    if not keys.latent.attention_heads:
        yield Conflict("latent.attention_heads", 0, "1 or more, to attend to captions")
    if keys.text.width % keys.text.heads:
        yield Conflict("text.heads", keys.text.heads, f"a divisor of text.width = {keys.text.width}")


def interval_rises(keys: Keys) -> Iterator[Conflict]:
    """As intervals do."""
    first, last = keys.guidance.interval
    if first >= last:
        yield Conflict("guidance.interval", keys.guidance.interval, "from a lower to a higher log-SNR")


def batch_within_limit(keys: Keys) -> Iterator[Conflict]:
    """A batch holds every image once."""
    limit = keys.data.train_limit
    for section in ("train", "judge", "vae", "gan", "autoencoder", "train_latent"):
        size = getattr(keys, section).batch_size
        if limit and size > limit:
            yield Conflict(f"{section}.batch_size", size, f"up to {limit} images")


def samples_within_samples(keys: Keys) -> Iterator[Conflict]:
    """Some images are the first of others."""
    for section, part, whole in (
        ("evaluate", "sampler_samples", "num_samples"),
        ("evaluate", "ddpm_samples", "sampler_samples"),
        ("score", "ode_images", "likelihood_images"),
    ):
        number, most = (getattr(getattr(keys, section), key) for key in (part, whole))
        if number > most:
            yield Conflict(f"{section}.{part}", number, f"up to {section}.{whole} = {most}")


RULES = (
    steps_within_timesteps,
    schedule_can_be_built,
    target_is_defined,
    images_can_be_halved,
    heads_share_the_width,
    interval_rises,
    batch_within_limit,
    samples_within_samples,
)


def image_size(keys: Keys) -> int:
    """The side of the data set's images, in pixels."""
    return IMAGE_SIZES.get(keys.data.dataset, keys.data.image_size)


def _levels(section: str, net: Net, patch: int, size: int) -> Iterator[Conflict]:
    divisor = patch * 2 ** (len(net.channels) - 1)
    if size % divisor:
        allowed = f"patch * 2^(levels - 1), here {divisor}, divides the image size {size}"
        yield Conflict(f"{section}.channels", net.channels, allowed)


def _heads(section: str, net: Latent) -> Iterator[Conflict]:
    """Attention stands at the last level."""
    last = net.channels[-1]
    if net.attention_heads and last % net.attention_heads:
        allowed = f"0 or a divisor of the last of {section}.channels, {last}"
        yield Conflict(f"{section}.attention_heads", net.attention_heads, allowed)
