"""`make profile`: where the time of every kind of work goes, by operation, in one lane."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.bench import CLASSES, random_data
from diffusion.data import classes_in_turn
from diffusion.denoiser import Denoiser
from diffusion.generation import of_denoiser
from diffusion.latents.model import text_unet
from diffusion.nets.unet import UNet
from diffusion.quality.judge import Judge
from diffusion.runtime import describe_machine, freeze, prepare_machine
from diffusion.samplers.ddim import by_ddim
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Update
from stages import autoencoder, gan, judge, train, vae
from stages.params.params import AllParams
from stages.shared.denoiser_training import denoiser_training
from stages.shared.machine import Machine, machine_of

STEPS = 20
CAPTION_LENGTH, VOCABULARY = 8, 30  # about those of mnist5k

KINDS = {  # of operations, by what their names contain; the first that fits
    "convolution": ("convolution", "conv2d"),
    "attention": ("scaled_dot_product", "flash_attention", "softmax"),
    "matrix product": ("addmm", "aten::mm", "bmm", "linear", "matmul"),
    "normalisation": ("norm_backward", "native_group_norm", "layer_norm", "batch_norm"),
    "activation": ("silu", "relu", "sigmoid", "tanh"),
    "optimiser": ("adamw", "foreach"),
    "random draws": ("normal", "rand", "uniform"),
    "copies, other layouts and precisions": ("copy", "cat", "clone", "contiguous", "pixel", "index", "fill", "zero_"),
}
OTHER, OUTSIDE = "other operations", "Python, and what surrounds operations"

Work = Callable[[int], object]  # number k of several alike


def main() -> None:
    """Print a table; random images stand in for data, since their content does not change the timings."""
    params = AllParams.load(Path())
    machine = machine_of(params)
    torch.set_num_threads(1)
    for name, value in describe_machine(*machine).items():
        print(f"{name:24} {value}")
    columns = {name: shares(work) for name, work in works(params, machine)}
    print("\nmilliseconds of one core, then the share of each kind of operation in %\n")
    width = max(map(len, (*KINDS, OTHER, OUTSIDE)))
    print(f"{'':{width}} " + " ".join(f"{name:>10}" for name in columns))
    print(f"{'milliseconds':{width}} " + " ".join(f"{seconds * 1000:10.1f}" for seconds, _ in columns.values()))
    for kind in (*KINDS, OTHER, OUTSIDE):
        print(f"{kind:{width}} " + " ".join(f"{100 * found[kind]:10.0f}" for _, found in columns.values()))


def works(params: AllParams, machine: Machine) -> Iterator[tuple[str, Work]]:
    """A training step of every model, and one evaluation of a batch by those that sample and judge."""
    device, precision = machine
    data = random_data(params)
    update, learners = train.training_of(params, data, device, precision)
    yield "denoiser", update
    net = freeze(learners["denoiser"].net, device)
    denoiser = Denoiser(net, noise_schedule(params.schedule, params.timesteps), params.train.target, precision)
    number = params.sampling.batch_size
    sampled, label = of_denoiser(denoiser, data.shape, by_ddim(1)), classes_in_turn(number, CLASSES)
    yield "sampling", lambda k: sampled.images(label, k, "operations", number)
    update, learners = judge.training_of_both(params, data, device, precision)
    yield "judges", update
    seeing = Judge(learners["judge"].net, device)
    yield "judging", lambda k: seeing.see(data.images[: params.sampling.sampler_samples])
    yield "autoencod.", autoencoder.training_of(params, data, device, precision)[0]
    yield "latents", latent_training(params, machine)
    yield "vae", vae.training_of(params, data, device, precision)[0]
    yield "gan", gan.training_of(params, data, device, precision)[0]


def latent_training(params: AllParams, machine: Machine) -> Update:
    """The training of the latent denoiser on random latents and captions."""
    side = random_data(params).images.shape[-1] // 2 ** len(params.autoencoder.channels)
    shape = (params.autoencoder.latent_channels, side, side)
    net = {"image_size": side, "image_channels": shape[0], "num_classes": 0, "patch": 1, **params.latent.model_dump()}
    tokens = torch.randint(1, VOCABULARY, (4096, CAPTION_LENGTH))
    unet: UNet = text_unet(net, params.text.model_dump(), VOCABULARY)
    return denoiser_training(unet, torch.randn(len(tokens), *shape), tokens, params, params.train_latent, *machine)[0]


def shares(work: Work) -> tuple[float, dict[str, float]]:
    """Seconds of a work without the profiler, and how they divide into kinds of operations under it."""
    prepare_machine(torch.device("cpu"))
    for k in range(3):
        work(k)
    start = time.perf_counter()
    for k in range(STEPS):
        work(k)
    seconds = (time.perf_counter() - start) / STEPS
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        for k in range(STEPS):
            work(k)
        profiled = time.perf_counter() - start
    spent = Counter(dict.fromkeys((*KINDS, OTHER), 0.0))
    for event in profiler.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total / 1e6 / profiled
    return seconds, {**spent, OUTSIDE: 1 - sum(spent.values())}


def kind_of(operation: str) -> str:
    """The kind that an operation belongs to."""
    lower = operation.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), OTHER)


if __name__ == "__main__":
    main()
