"""Which keys decide how much memory a stage takes: what to make smaller where memory ran out."""

from itertools import chain
from operator import attrgetter

from stages.params.params import Params

NET = "model"  # stands for the keys of the network's kind
OF_NET = {"unet": ("model.channels",), "dit": ("model.patch", "model.width", "model.depth")}
OF_SAMPLES = ("sampling.batch_size", NET)
KEYS: dict[str, tuple[str, ...]] = {
    "prepare": ("data.train_limit", "data.test_limit"),
    "judge": ("judge.batch_size",),
    "schedules": ("data.test_limit",),
    "train": ("train.batch_size", NET),
    "evaluate": (*OF_SAMPLES, "evaluate.num_samples"),
    "benchmark": ("benchmark.num_images", NET),
    "guidance": (*OF_SAMPLES, "guidance.samples_per_class"),
    "score": (*OF_SAMPLES, "score.likelihood_images"),
    "autoencoder": ("autoencoder.batch_size", "autoencoder.channels"),
    "captions": ("data.train_limit", "data.test_limit"),
    "train_latent": ("train_latent.batch_size", "latent.channels", "text.width"),
    "sample_latent": ("sampling.batch_size", "latent.channels", "autoencoder.channels", "sample_latent.num_samples"),
    "vae": ("vae.batch_size", "vae.channels"),
    "gan": ("gan.batch_size", "gan.channels"),
    "compare": ("sampling.batch_size", "compare.batch_sizes", NET, "vae.channels", "gan.channels"),
}  # the stages of pages have none


def memory_keys(stage: str, params: Params) -> str:
    """The keys that decide how much memory a stage takes, with their values, largest effect first; "" if none does."""
    of_net = OF_NET.get(params.model.kind, ())
    named = chain.from_iterable(of_net if key == NET else (key,) for key in KEYS.get(stage, ()))
    return ", ".join(f"{key} = {attrgetter(key)(params)}" for key in named)
