"""Who started this process, and when; and whether this Python can run a stage at all. stages/__init__.py imports this
first, so nothing but the standard library is imported here: torch alone takes seconds, and may not be there."""

import os
import sys
import time
from importlib.util import find_spec

PARENT = os.getppid()
AGENT = "stage"  # the name of the agent that a stage is to the processes that it starts
SHARED = int(os.environ.get("WORLD_SIZE", 1)) > 1  # torchrun's variables: whether other processes share the work,
RANK = int(os.environ["RANK"]) if SHARED else 0  # and which of them this is
INTERRUPTED = 130  # the exit status of such a process that is interrupted
FROM_STAGE = os.environ.get("TORCHELASTIC_RUN_ID") == AGENT  # whether a stage started this process
MOMENT = time.monotonic()
GO_BACK = "to get the last results back: git restore reports '*dvc.lock' && dvc checkout --allow-missing"
NEEDED = ("torch", "pydantic", "yaml", "safetensors", "tqdm")  # to start a stage; pip installs all or none of them


def refuse_other_python() -> None:
    """End the process in one line if this Python lacks what `make` installs: a DVC from elsewhere runs another one."""
    missing = [name for name in NEEDED if not find_spec(name)]
    if missing:
        sys.exit(
            f"error: {sys.executable} has no {', '.join(missing)}: run `make` once, and `. .venv/bin/activate` in this "
            f"shell (or `pip install -e .` in an environment of your own); {GO_BACK}"
        )
