"""The formats of `diffusion-export`, by name."""

from diffusion.export import diffusers_folder, onnx_folder, weights
from diffusion.export.formats import Format

FORMATS: dict[str, Format] = {
    "safetensors": weights.FORMAT,
    "diffusers": diffusers_folder.FORMAT,
    "onnx": onnx_folder.FORMAT,
}
