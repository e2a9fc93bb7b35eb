"""Which model a stage wrote or used: what the pages say they were made with."""

import hashlib
from pathlib import Path

from diffusion.tensors import load_tensors
from stages.shared.outputs import write_json


def write_model_record(path: Path, model: Path, steps: int) -> None:
    """Write the SHA-256 of a model's file, its schedule, T and target, and the steps it was trained for, as JSON.

    Raises ValueError for a file that is missing, damaged or not of this project.
    """
    _, description = load_tensors(model)
    with open(model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = {key: description[key] for key in ("schedule", "timesteps", "target")}
    write_json(path, {"sha256": digest, **known, "steps": steps})
