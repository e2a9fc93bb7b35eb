"""The file of this project, and what it says of itself as JSON beside it."""

import json
from pathlib import Path

from diffusion.denoiser import Denoiser, save_denoiser
from diffusion.export.formats import Format
from diffusion.files import write_text
from diffusion.tensors import Description

USE = """\
`model.safetensors` holds the weights, and in its header the description that `config.json` repeats. With this project
installed:

```sh
diffusion-sample --model model.safetensors --num 100 --guidance 2 --out sheet.png
```

```python
denoiser, description = load_denoiser(Path("model.safetensors"), torch.device("cpu"), "fp32")  # of diffusion.denoiser
```
"""


def write(denoiser: Denoiser, description: Description, folder: Path) -> None:
    """Write model.safetensors, as stage train does, and config.json."""
    save_denoiser(folder / "model.safetensors", denoiser.net.state_dict(), description)
    write_text(folder / "config.json", json.dumps(description, indent=2, sort_keys=True) + "\n")


FORMAT = Format(write, "weights, and their description as JSON", USE)
