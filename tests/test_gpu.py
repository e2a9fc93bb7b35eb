"""What can be checked of a GPU without one: that nothing in a hot loop copies to it or waits for it; and with one.

Without one, tensors of the GPU have a device and no content, those of the CPU are real. The backward pass would need a
real GPU and is left out there, as is the adaptive solver, whose steps SciPy chooses on the CPU.
"""

from functools import partial
from itertools import repeat

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusion.baselines.gan import GanModel, discriminator_loss
from diffusion.baselines.gan_nets import Discriminator
from diffusion.baselines.vae import VaeModel, vae_loss
from diffusion.baselines.vae_net import Vae
from diffusion.denoiser import Conditional, Denoiser, clipped, guidance
from diffusion.generation import of_denoiser, of_latents, of_one_call
from diffusion.latents.autoencoder import decode, reconstruction_loss
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.latents.model import text_unet
from diffusion.likelihood.bounds import by_shares, grey_aware, variational_bound
from diffusion.likelihood.greys import Greys
from diffusion.loss import denoising_loss
from diffusion.nets.classifier import Classifier
from diffusion.nets.dit import DiT
from diffusion.nets.lenet import LeNet
from diffusion.nets.unet import UNet
from diffusion.quality.judge import NOISY, Judge, judge_loss
from diffusion.randomness import image_noise
from diffusion.runtime import place
from diffusion.samplers.film import filmed
from diffusion.samplers.inpainting import inpainted, left_half
from diffusion.samplers.ode import flow
from diffusion.samplers.step import final
from diffusion.samplers.table import SAMPLERS, SamplerSetting
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Learner, training_step
from diffusion.training.optimiser import Ema, Optimiser

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
GPU = torch.device("cuda")
SHAPE = (1, 8, 8)
NETS = [partial(UNet, 8, 1, 10, 1, [8, 16], 1, 4, 0.0), partial(DiT, 8, 1, 10, 2, 16, 2, 4, 0.0)]
CAPTIONED = {
    "image_size": 4,
    "image_channels": 2,
    "num_classes": 0,
    "patch": 1,
    "channels": [16],
    "blocks": 1,
    "attention_heads": 2,
    "dropout": 0.0,
}
TEXT = {"encoder": "own", "folder": "", "width": 16, "layers": 1, "heads": 2}


class Watched(TorchDispatchMode):
    """Notes every operation that reads one device and writes another, or that hands a number of the GPU to Python.

    Copies that a GPU makes by itself, from pinned memory, go to `sent`. What the CPU does alone is really done.
    """

    def __init__(self):
        super().__init__()
        self.found, self.sent = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        on_gpu = any(isinstance(x, FakeTensor) for x in read)
        if not on_gpu and torch.device(kwargs.get("device") or "cpu").type == "cpu":
            with unset_fake_temporarily():
                return function(*args, **kwargs)
        if "_local_scalar_dense" in str(function):
            self.found.append(str(function))
        result = function(*args, **kwargs)
        written = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if len({x.device.type for x in (*read, *written) if x.ndim}) > 1:
            by_itself = kwargs.get("non_blocking") and all(getattr(x, "pinned", False) for x in read)
            (self.sent if by_itself else self.found).append(str(function))
        return result


@pytest.fixture
def gpu(monkeypatch):
    """Let this machine have a GPU that computes nothing."""

    def pinned(x):
        copy = x.clone()
        copy.pinned = True
        return copy

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    for module in ("objective", "training.batches"):  # a generator of a GPU needs the GPU
        monkeypatch.setattr(f"diffusion.{module}.generator_for", lambda *_: None)
    with FakeTensorMode(allow_non_fake_inputs=True), Watched():
        yield


def zeros(*shape, dtype=None):
    return torch.zeros(*shape, dtype=dtype, device=GPU)


def on_gpu(build, *arguments):
    with GPU:
        return build(*arguments).requires_grad_(False).eval()


def denoiser_of(net, target="v"):
    return Denoiser(net, noise_schedule("linear", 100), target)


def batch(denoiser, number=4):
    return clipped(Conditional(denoiser, zeros(number, dtype=torch.long))), repeat(zeros(number, *SHAPE))


def denoisers(net):
    return denoising_loss(denoiser_of(net), dropout=0.1, times="cosine", weighting="min_snr")


def vaes(net):
    return vae_loss(VaeModel(net), kl_weight=1.0, kl_warmup_steps=2)


def discriminators(net):
    made = GanModel(lambda z, label: zeros(len(z), *SHAPE))
    return discriminator_loss(made, net, latent=2, r1_weight=1.0, r1_every=16)


TRAININGS = [
    *((build, denoisers) for build in NETS),
    (partial(Classifier, 8, 1, 10), partial(judge_loss, precision="fp32", varied=True)),
    (partial(Classifier, 8, 1, 10, knows_noise=True), partial(judge_loss, precision="fp32")),
    (partial(Autoencoder, 8, 1, 2, [8]), partial(reconstruction_loss, kl_weight=1.0, precision="fp32")),
    (partial(Vae, 8, 1, 10, 2, 2, 1, [8], 1), vaes),
    (partial(Discriminator, 8, 1, 10, 1, [8], 1), discriminators),
]


@pytest.mark.parametrize(("build", "loss_of"), TRAININGS)
def test_a_training_step_copies_nothing_to_the_gpu_and_never_waits(gpu, build, loss_of):
    with GPU:
        net = build()
    optimiser = Optimiser(net.parameters(), 1e-3, num_steps=2)
    optimiser.gradient, optimiser.descend = lambda loss: torch.zeros(()), lambda loss, gradient: {}
    update = steps_of(net, loss_of(net), optimiser)
    with Watched() as watched:
        scalars = update(1)
    assert all(scalar.device.type == "cuda" for scalar in scalars.values()) and not watched.found and not watched.sent


def steps_of(net, loss, optimiser):
    images, labels = zeros(100, *SHAPE, dtype=torch.uint8), zeros(100, dtype=torch.long)
    learners = {"net": Learner(net, loss, optimiser, Ema(net, 0.9))}
    return training_step(learners, images, labels, batch_size=8, seed=0, purpose="train")


def test_the_watch_for_what_is_not_finite_never_waits_for_a_gpu(gpu):
    with GPU:
        weight, loss, grad_norm = torch.nn.Parameter(torch.zeros(4)), torch.zeros(()), torch.zeros(())
    optimiser = Optimiser([weight], 1e-3, num_steps=2)
    with Watched() as watched:
        optimiser.watch(loss, grad_norm)
    assert optimiser.adamw.found_inf.device.type == "cuda" and not watched.found


@pytest.mark.parametrize("build", NETS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_copies_or_waits_between_its_first_step_and_its_last(gpu, name, build):
    denoiser = denoiser_of(on_gpu(build))
    denoise, normals = batch(denoiser)
    setting = SamplerSetting(name, 4, 0.5 if SAMPLERS[name].takes_eta else None, "log_snr")
    with Watched() as watched:
        images = final(setting.start(denoise, denoiser.schedule, normals))
    assert images.device.type == "cuda" and not watched.found and not watched.sent


@pytest.mark.parametrize(
    "options", [{"scale": 2.0}, {"scale": 2.0, "rescale": 0.7, "interval": (-3.0, 1.0)}, {"scale": 0.0}, {"bad": True}]
)
def test_nor_does_guidance(gpu, options):
    denoiser = denoiser_of(on_gpu(NETS[0]))
    bad = {"scale": 2.0, "bad": denoiser_of(on_gpu(NETS[0]))} if "bad" in options else options
    model = of_denoiser(denoiser, SHAPE, SamplerSetting("ddim", 4, 0.0).start, guidance(**bad))
    labels, normals = zeros(4, dtype=torch.long), repeat(zeros(4, *SHAPE))
    with Watched() as watched:
        model.sample(labels, normals)
    assert not watched.found and not watched.sent


def test_nor_do_films_and_inpainting(gpu):
    denoiser = denoiser_of(on_gpu(NETS[0]))
    denoise, normals = batch(denoiser)
    setting, mask = SamplerSetting("ddim", 4, 0.0), left_half(8).to(GPU)
    for walk in (filmed(setting.start, 4), inpainted(setting, zeros(4, *SHAPE), mask, 2, 2)):
        with Watched() as watched:
            final(walk(denoise, denoiser.schedule, normals))
        assert not watched.found and not watched.sent


def test_nor_do_latents_with_text_and_models_of_one_call(gpu):
    net, autoencoder = on_gpu(text_unet, CAPTIONED, TEXT, 30), on_gpu(Autoencoder, 8, 1, 2, [8])
    walk = SamplerSetting("dpmpp_2m", 4).start
    of_text = of_latents(denoiser_of(net), (2, 4, 4), walk, partial(decode, autoencoder), guidance(3.0))
    of_call = of_one_call(lambda z, label: z, 2, GPU)
    tokens, normals = zeros(4, 16, dtype=torch.long), repeat(zeros(4, 2, 4, 4))
    for model in (of_text, of_call):
        with Watched() as watched:
            model.sample(tokens, normals)
        assert not watched.found and not watched.sent


def test_noise_is_drawn_on_the_cpu_and_sent_without_a_wait(gpu):
    """The start noise and 20 steps: three copies, which hold the numbers that a CPU draws."""
    with Watched() as watched:
        normals = image_noise(0, "sample", range(3), SHAPE, GPU)
        drawn = [next(normals) for _ in range(21)]
    assert all(x.device.type == "cuda" for x in drawn) and not watched.found and len(watched.sent) == 3


@pytest.mark.parametrize("build", [partial(Classifier, 8, 1, 10, knows_noise=True), partial(LeNet, 8, 1, 10)])
def test_a_judge_waits_once_for_all_of_its_batches(gpu, build, monkeypatch):
    monkeypatch.setattr("diffusion.quality.judge.freeze", lambda net, _: net)
    judge = Judge(on_gpu(build), GPU)
    images, log_snr = torch.zeros(600, *SHAPE, dtype=torch.uint8), 1.0 if judge.kind == NOISY else None
    with Watched() as watched:
        judge.see(images, log_snr)
    assert len(watched.sent) == 3 and len(watched.found) == 2  # images by the batch; features and logits at the end


@pytest.mark.parametrize("times", ["of each image", "of all"])
def test_likelihoods_send_the_times_of_their_images_and_never_wait(gpu, times):
    denoiser = denoiser_of(on_gpu(NETS[0]))
    schedule, greys = denoiser.schedule, Greys(zeros(256), zeros(256))
    towards = Conditional(denoiser, zeros(4, dtype=torch.long))
    denoise = grey_aware(towards, schedule, greys, torch.linspace(1, 0.1, 5))
    images, normals = zeros(4, *SHAPE, dtype=torch.uint8), repeat(zeros(4, *SHAPE))
    with Watched() as watched:
        if times == "of all":
            found = flow(denoise, schedule)(1.0, next(normals))
        else:
            decoder = by_shares(schedule, greys)
            found = variational_bound(denoise, schedule, images, decoder, normals, torch.rand(4, 3)).total()
    assert found.device.type == "cuda" and not watched.found and bool(watched.sent) == (times == "of each image")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: `make gpu`")
@pytest.mark.parametrize("build", NETS)
def test_a_real_gpu_trains_and_samples_without_a_wait_and_draws_what_a_cpu_draws(monkeypatch, build):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    net = place(build(), GPU)
    optimiser = Optimiser(net.parameters(), 1e-3, num_steps=20)
    update = steps_of(net, denoisers(net), optimiser)
    for step in range(5):
        update(step)
    model = of_denoiser(denoiser_of(net.eval()), SHAPE, SamplerSetting("ddim", 20, 1.0).start)
    labels = zeros(4, dtype=torch.long)

    def drawn(model, labels):
        with torch.no_grad():
            return model.sample(labels, image_noise(0, "sample", range(4), SHAPE, labels.device))

    drawn(model, labels)
    torch.cuda.set_sync_debug_mode("error")
    try:
        update(5)
        images = drawn(model, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    optimiser.refuse_not_finite()
    on_cpu = of_denoiser(denoiser_of(net.cpu()), SHAPE, SamplerSetting("ddim", 20, 1.0).start)
    assert (images.cpu() - drawn(on_cpu, labels.cpu())).abs().max() < 1e-3
