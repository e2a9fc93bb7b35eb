"""Images of classes, as a pipeline of diffusers: start noise, the scheduler's steps, classifier-free guidance."""

import inspect
from collections.abc import Sequence

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, ImagePipelineOutput, ModelMixin, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class ClassPipeline(DiffusionPipeline):
    """A class-conditional U-Net with a scheduler; `id2label` are the names of its classes."""

    def __init__(self, unet: ModelMixin, scheduler: SchedulerMixin, id2label: dict[str, str] | None = None) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(id2label=id2label)

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[int | str],
        num_inference_steps: int = 50,
        guidance_scale: float = 1.0,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[object]:
        """An image of every class, which is a label or a name, as PIL images, or with output_type `pt` as a tensor
        (B, C, H, W) in [0, 1].

        guidance_scale: 0 is unconditional, 1 conditional, above 1 guided. `latents`: the start noise (B, C, H, W).
        Raises ValueError for an unknown class, and for a number of steps that DDIMScheduler gets wrong.
        """
        net, timesteps = self.unet.config.arguments, self.scheduler.config.num_train_timesteps
        if isinstance(self.scheduler, DDIMScheduler) and timesteps % num_inference_steps:
            allowed = f"divisors of {timesteps}"
            raise ValueError(f"num_inference_steps: {num_inference_steps} is not possible (allowed: {allowed})")
        label = torch.tensor([self.label_of(one) for one in class_labels], device=self._execution_device)
        nothing = torch.full_like(label, self.unet.null)
        shape = (len(label), net["image_channels"], net["image_size"], net["image_size"])
        x = latents
        if x is None:
            x = randn_tensor(shape, generator=generator, device=label.device, dtype=self.unet.dtype)
        known = inspect.signature(self.scheduler.step).parameters
        options = {"eta": eta, "use_clipped_model_output": True, "generator": generator}
        options = {name: value for name, value in options.items() if name in known}
        self.scheduler.set_timesteps(num_inference_steps, device=label.device)
        x = x * self.scheduler.init_noise_sigma
        for t in self.progress_bar(self.scheduler.timesteps):
            seen = self.scheduler.scale_model_input(x, t)
            if guidance_scale in (0, 1):
                prediction = self.unet(seen, t, label if guidance_scale else nothing).sample
            else:
                both = self.unet(torch.cat([seen, seen]), t, torch.cat([label, nothing])).sample
                cond, uncond = both.chunk(2)
                prediction = uncond + guidance_scale * (cond - uncond)
            x = self.scheduler.step(prediction, t, x, **options).prev_sample
        images = (x.float() / 2 + 0.5).clamp(0, 1)
        if output_type == "pil":
            images = self.numpy_to_pil(images.permute(0, 2, 3, 1).cpu().numpy())
        return ImagePipelineOutput(images) if return_dict else (images,)

    def label_of(self, name: int | str) -> int:
        """The label of a class. Raises ValueError for one that the model does not know."""
        labels = {known: int(label) for label, known in self.config.id2label.items()}
        if name not in (labels if isinstance(name, str) else labels.values()):
            raise ValueError(f"class: {name!r} is unknown (allowed: {', '.join(labels)}, or 0 to {len(labels) - 1})")
        return labels[name] if isinstance(name, str) else name
