"""The other libraries of `make peers`: each one's network, loss and sampler for digits, in two forms.

`documented` is what the library's own documentation uses for such images, `tuned` the same library, set up for two CPU
cores as well as we could.
"""

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

SAMPLING_STEPS = 50
CLASSES, SIZE = 10, 28
FORMS = ("documented", "tuned")


class Peer(ABC):
    """A library's way from digits to digits. `net` is what is trained, and averaged where `ema_decay` is not 0."""

    library: str
    form: str  # documented, tuned
    settings: str  # in words, for the table
    net: nn.Module
    batch_size: int
    learning_rate: float
    ema_decay = 0.0
    documented_optimiser: type[torch.optim.Optimizer] = torch.optim.Adam

    @property
    def tuned(self) -> bool:
        """Whether the CPU's settings apply: channels_last, bf16 where it is faster, AdamW whose rate decays."""
        return self.form == "tuned"

    @abstractmethod
    def loss(self, x_0: Tensor, label: Tensor) -> Tensor:
        """The library's loss of `net` for images in [-1, 1] (B, 1, 28, 28) and labels (B,)."""

    @abstractmethod
    def sample(self, net: nn.Module, label: Tensor) -> Tensor:
        """Unguided digits (B, 1, 28, 28) in [-1, 1] by the library's sampler in SAMPLING_STEPS evaluations of `net`."""

    @abstractmethod
    def evaluate(self, net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
        """The bare network evaluation that `sample` makes in every step."""


class Azula(Peer):
    """The MNIST tutorial of azula's documentation."""

    library = "azula"

    def __init__(self, form: str) -> None:
        from azula.denoise import KarrasDenoiser
        from azula.nn.unet import UNet
        from azula.noise import VPSchedule

        class Conditioned(nn.Module):
            def __init__(self, features: int = 64) -> None:
                super().__init__()
                self.unet = UNet(1, 1, hid_channels=[16, 32, 64], hid_blocks=[2, 2, 2], mod_features=features)
                self.label = nn.Embedding(CLASSES, features)
                self.time = nn.Sequential(nn.Linear(1, features), nn.SiLU(), nn.Linear(features, features))

            def forward(self, x: Tensor, log_sigma: Tensor, label: Tensor) -> Tensor:
                return self.unet(x, self.label(label) + self.time(log_sigma[..., None]))

        self.form = form
        self.net = KarrasDenoiser(Conditioned(), VPSchedule())
        self.batch_size, self.learning_rate = (32, 2e-3) if self.tuned else (64, 3e-4)
        self.ema_decay = 0.995 if self.tuned else 0.0
        self.settings = "UNet 16/32/64, EDM preconditioning, VP schedule, DDIM"

    def loss(self, x_0: Tensor, label: Tensor) -> Tensor:
        return self.net.loss(x_0, torch.rand(len(x_0)), label=label)

    def sample(self, net: nn.Module, label: Tensor) -> Tensor:
        from azula.sample import DDIMSampler

        sampler = DDIMSampler(net, steps=SAMPLING_STEPS, silent=True)
        return sampler(sampler.init((len(label), 1, SIZE, SIZE)), label=label)

    def evaluate(self, net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
        return net.backbone(x, torch.tensor(0.5), label=label)


class SmallDiffusion(Peer):
    """Examples fashion_mnist_unet.py and, for classes, fashion_mnist_dit_cond.py of smalldiffusion."""

    library = "smalldiffusion"
    documented_optimiser = torch.optim.AdamW

    def __init__(self, form: str) -> None:
        from smalldiffusion import CondEmbedderLabel, PredV, Scaled, ScheduleDDPM, ScheduleLogLinear, Unet

        self.form = form
        width = 32 if self.tuned else 64
        kind = Scaled(PredV(Unet)) if self.tuned else Scaled(Unet)
        self.net = kind(
            SIZE, 1, 1, ch=width, ch_mult=(1, 1, 2), attn_resolutions=() if self.tuned else (14,),
            num_res_blocks=1 if self.tuned else 2, dropout=0.0 if self.tuned else 0.1,
            cond_embed=CondEmbedderLabel(4 * width, CLASSES, 0.1),
        )  # fmt: skip
        self.schedule = ScheduleDDPM() if self.tuned else ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)
        self.batch_size, self.learning_rate = (32, 2e-3) if self.tuned else (1024, 7e-4)
        self.ema_decay = 0.995 if self.tuned else 0.999
        self.gamma = 1.0 if self.tuned else 1.6
        self.settings = (
            "Unet 32/32/64, one block each, v, DDPM's schedule, DDIM"
            if self.tuned
            else "Unet 64/64/128, eps, log-linear schedule, its sampler with gam 1.6"
        )

    def loss(self, x_0: Tensor, label: Tensor) -> Tensor:
        from smalldiffusion.diffusion import generate_train_sample

        x_0, sigma, eps, cond = generate_train_sample((x_0, label), self.schedule, conditional=True)
        return self.net.get_loss(x_0, sigma, eps, cond=cond)

    def sample(self, net: nn.Module, label: Tensor) -> Tensor:
        from smalldiffusion import samples

        *_, x_0 = samples(
            net,
            self.schedule.sample_sigmas(SAMPLING_STEPS),
            gam=self.gamma,
            batchsize=len(label),
            cond=label,
            accelerator=Cpu,
        )
        return x_0

    def evaluate(self, net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
        return net(x, torch.tensor(1.0), cond=label)


class Cpu:
    """Stands for the accelerator that smalldiffusion asks for its device."""

    device = torch.device("cpu")


class Diffusers(Peer):
    """The class-conditioned MNIST model of the Hugging Face diffusion course, unit 2."""

    library = "diffusers"

    def __init__(self, form: str) -> None:
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

        class Conditioned(nn.Module):
            def __init__(self, features: int = 4) -> None:
                super().__init__()
                self.label = nn.Embedding(CLASSES, features)
                self.unet = UNet2DModel(
                    sample_size=SIZE, in_channels=1 + features, out_channels=1, layers_per_block=2,
                    block_out_channels=(32, 64, 64),
                    down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
                    up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
                )  # fmt: skip

            def forward(self, x: Tensor, t: Tensor | int, label: Tensor) -> Tensor:
                planes = self.label(label)[:, :, None, None].expand(-1, -1, *x.shape[2:])
                return self.unet(torch.cat([x, planes], dim=1), t).sample

        class Embedded(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.unet = UNet2DModel(
                    sample_size=SIZE, in_channels=1, out_channels=1, layers_per_block=1, num_class_embeds=CLASSES,
                    block_out_channels=(16, 32, 64), norm_num_groups=8,
                    down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
                    up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
                )  # fmt: skip

            def forward(self, x: Tensor, t: Tensor | int, label: Tensor) -> Tensor:
                return self.unet(x, t, class_labels=label).sample

        self.form = form
        self.net = Embedded() if self.tuned else Conditioned()
        self.target = "v_prediction" if self.tuned else "epsilon"
        settings = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": self.target}
        self.noise = DDPMScheduler(**settings)
        self.sampler = DDIMScheduler(timestep_spacing="trailing" if self.tuned else "leading", **settings)
        self.batch_size, self.learning_rate = (32, 2e-3) if self.tuned else (128, 1e-3)
        self.ema_decay = 0.995 if self.tuned else 0.0
        self.settings = (
            "UNet2DModel 16/32/64, one block each, attention at 7x7, v, cosine schedule, DDIM (trailing)"
            if self.tuned
            else "UNet2DModel 32/64/64, two blocks each, attention, class in 4 planes, eps, cosine schedule, DDIM"
        )

    def loss(self, x_0: Tensor, label: Tensor) -> Tensor:
        eps, t = torch.randn_like(x_0), torch.randint(0, len(self.noise), (len(x_0),))
        wanted = self.noise.get_velocity(x_0, eps, t) if self.target == "v_prediction" else eps
        return nn.functional.mse_loss(self.net(self.noise.add_noise(x_0, eps, t), t, label), wanted)

    def sample(self, net: nn.Module, label: Tensor) -> Tensor:
        self.sampler.set_timesteps(SAMPLING_STEPS)
        x = torch.randn(len(label), 1, SIZE, SIZE)
        for t in self.sampler.timesteps:
            x = self.sampler.step(net(x, t, label), t, x).prev_sample
        return x

    def evaluate(self, net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
        return net(x, 500, label)


class DenoisingDiffusionPytorch(Peer):
    """classifier_free_guidance.py of denoising-diffusion-pytorch, with what its README gives the Trainer."""

    library = "denoising-diffusion-pytorch"

    def __init__(self, form: str) -> None:
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet

        class Unguided(Unet):
            """At scale 1 version 2.3.4 returns one prediction where its sampler takes two."""

            def forward_with_cond_scale(self, *args: Tensor, **_: object) -> tuple[Tensor, None]:
                return self.forward(*args, cond_drop_prob=0.0), None

        self.form = form
        unet = Unguided(
            dim=16 if self.tuned else 64, dim_mults=(1, 2, 4), channels=1,
            num_classes=CLASSES, cond_drop_prob=0.1 if self.tuned else 0.5,
        )  # fmt: skip
        self.net = GaussianDiffusion(
            unet, image_size=SIZE, timesteps=1000, sampling_timesteps=SAMPLING_STEPS,
            objective="pred_v" if self.tuned else "pred_noise", ddim_sampling_eta=0.0 if self.tuned else 1.0,
        )  # fmt: skip
        self.batch_size, self.learning_rate = (32, 2e-3) if self.tuned else (32, 8e-5)
        self.ema_decay = 0.995 if self.tuned else 0.9995  # 0.995 every tenth step
        self.settings = (
            "Unet 16/32/64, v, cosine schedule, DDIM"
            if self.tuned
            else "Unet 64/128/256, eps, cosine schedule, DDIM with eta 1"
        )

    def loss(self, x_0: Tensor, label: Tensor) -> Tensor:
        return self.net((x_0 + 1) / 2, classes=label)

    def sample(self, net: nn.Module, label: Tensor) -> Tensor:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            return 2 * net.sample(label, cond_scale=1.0, rescaled_phi=0.0) - 1

    def evaluate(self, net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
        return net.model(x, torch.full((len(x),), 500), label, cond_drop_prob=0.0)


PEERS: dict[str, Callable[[str], Peer]] = {
    "diffusers": Diffusers,
    "denoising-diffusion-pytorch": DenoisingDiffusionPytorch,
    "smalldiffusion": SmallDiffusion,
    "azula": Azula,
}
