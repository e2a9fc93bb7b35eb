"""A folder that diffusers loads: its own DDIMScheduler, and this project's U-Net as code beside the weights.

The U-Net does not map onto diffusers' UNet2DModel, which has neither patches nor a map for every class and normalises
in groups, so the folder brings its code. With the scheduler's config, diffusers makes the images of `samplers.ddim`.
"""

import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import save_file

from diffusion.denoiser import Denoiser
from diffusion.export.formats import Format
from diffusion.files import whole_file, write_text
from diffusion.nets import attention, unet
from diffusion.schedule import NoiseSchedule
from diffusion.tensors import Description

PREDICTION_TYPES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
CODE = Path(__file__).parent / "diffusers_code"  # modules that import diffusers, so that only its users need it
OURS = re.compile(r"^from diffusion\.[\w.]+ import .*\n", re.MULTILINE)
USE = """\
```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("this-folder", trust_remote_code=True, use_safetensors=True)
images = pipeline({classes}, num_inference_steps=50, guidance_scale=2.0).images
```

The scheduler is diffusers' own `DDIMScheduler`; the U-Net does not map onto `UNet2DModel`, which has neither patches
nor a map for every class. So this folder brings its code, `unet/class_unet.py` and `pipeline.py`, which
`trust_remote_code=True` lets diffusers run: read it first. From the same start noise (`latents=`), in fp32 and in any
number of steps that divides T, the images are those of this project's DDIM to 1e-4; `DDIMScheduler` takes other steps
where the number does not divide T, which the pipeline refuses.
"""


def write(denoiser: Denoiser, description: Description, folder: Path) -> None:
    """Write what `DiffusionPipeline.from_pretrained` reads.

    Raises ValueError for another network than the U-Net, and for a target that DDIMScheduler does not know.
    """
    if not isinstance(denoiser.net, unet.UNet):
        raise ValueError(f"net: {description['net']['net']!r} has no code for diffusers (allowed: unet)")
    if denoiser.target not in PREDICTION_TYPES:
        raise ValueError(
            f"target: {denoiser.target!r} is none of DDIMScheduler's (allowed: {', '.join(PREDICTION_TYPES)})"
        )
    names = {str(label): name for label, name in enumerate(description["class_names"])}
    index = {
        "_class_name": ["pipeline", "ClassPipeline"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["class_unet", "ClassUNet"],
        "id2label": names,
    }
    arguments = {name: value for name, value in description["net"].items() if name != "net"}
    timesteps = denoiser.schedule.timesteps
    net_config = {"_class_name": "ClassUNet", "arguments": arguments, "num_train_timesteps": timesteps}
    write_json(folder / "model_index.json", index)
    write_json(folder / "scheduler/scheduler_config.json", scheduler_config(denoiser.schedule, denoiser.target))
    write_json(folder / "unet/config.json", net_config)
    weights = {f"net.{name}": tensor.contiguous() for name, tensor in denoiser.net.state_dict().items()}
    with whole_file(folder / "unet/diffusion_pytorch_model.safetensors") as partial:
        save_file(weights, partial, {"format": "pt"})
        partial.chmod(0o644)
    write_text(folder / "unet/class_unet.py", in_one_file(attention, unet, CODE / "class_unet.py"))
    write_text(folder / "pipeline.py", (CODE / "pipeline.py").read_text(encoding="utf-8"))


def scheduler_config(schedule: NoiseSchedule, target: str) -> dict[str, Any]:
    """The config of a DDIMScheduler whose steps are those of `samplers.ddim` with `clipped`, at trailing times.

    Its timesteps count from 0 where ours count from 1, and it steps to the clean image at last. Its caller has to let
    eps follow the clipped x_0 (`use_clipped_model_output`).
    """
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": schedule.timesteps,
        "trained_betas": schedule.beta[1:].tolist(),
        "prediction_type": PREDICTION_TYPES[target],
        "clip_sample": True,
        "clip_sample_range": 1.0,
        "set_alpha_to_one": True,
        "timestep_spacing": "trailing",
        "steps_offset": 0,
    }


def in_one_file(*sources: ModuleType | Path) -> str:
    """Modules as one: each without what it imports of this project, which stands above it."""
    texts = [
        source.read_text(encoding="utf-8") if isinstance(source, Path) else inspect.getsource(source)
        for source in sources
    ]
    return "\n\n".join(OURS.sub("", text).rstrip("\n") + "\n" for text in texts)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as diffusers does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


FORMAT = Format(write, "a folder for diffusers, with its DDIMScheduler and our U-Net as custom code", USE)
