"""A folder with the network as ONNX, in fp32 and with its weights in fp16, and what it says of itself as JSON."""

import json
from pathlib import Path

from diffusion.denoiser import Denoiser
from diffusion.export.formats import Format
from diffusion.files import write_text
from diffusion.tensors import Description

USE = """\
`model.onnx` (opset 18, fp32) is the network alone; in `model.fp16.onnx` its weights are rounded to fp16, in half the
bytes, and the arithmetic stays fp32. Inputs `x_t` (B, C, H, W), `time` (B,), which is 1000 t / T, and `label` (B,) give
`prediction` (B, C, H, W), for any B; the label after the last class means none. `config.json` names the schedule and
the target that the prediction is of: a sampler is yours to write.

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(prediction,) = session.run(None, {{"x_t": x_t, "time": time, "label": label}})  # float32, float32, int64
```
"""


def write(denoiser: Denoiser, description: Description, folder: Path) -> None:
    """Write model.onnx, model.fp16.onnx and config.json. Raises ValueError where the packages of ONNX are missing."""
    try:
        from diffusion.export.onnx import write_onnx
    except ModuleNotFoundError as error:
        raise ValueError(f"--format: onnx needs the package {error.name} (pip install -e '.[onnx]')") from error
    for name, half in (("model.onnx", False), ("model.fp16.onnx", True)):
        write_onnx(denoiser, description, folder / name, half)
    write_text(folder / "config.json", json.dumps(description, indent=2, sort_keys=True) + "\n")


FORMAT = Format(write, "the network as ONNX, for other runtimes (needs the extra onnx)", USE)
