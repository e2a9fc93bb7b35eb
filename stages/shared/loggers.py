"""Loss curves in the tools that people have, beside history.csv: `logger` in params.yaml.

They change no result, so no stage depends on them (see tests/deps.py).
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

Log = Callable[[int, Mapping[str, float]], None]  # (steps done, scalars)


def logged(logger: str, training: str) -> AbstractContextManager[Log]:
    """A block that logs the scalars of a training to `logger`, as a run with the training's name and the time.

    Raises ValueError where the logger's package is missing.
    """
    if logger != "none" and find_spec(logger) is None:
        raise ValueError(f"logger: {logger!r} is not installed (pip install {logger}; allowed without it: none)")
    return LOGGERS[logger](f"{training.replace(' ', '-')}-{time.strftime('%Y%m%d-%H%M%S')}")


@contextmanager
def nowhere(run: str) -> Iterator[Log]:
    """Log nothing."""
    yield lambda step, scalars: None


@contextmanager
def tensorboard(run: str) -> Iterator[Log]:
    """Log to runs/ in the repository, even from an experiment's copy of it; shown by `tensorboard --logdir runs`."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(Path(os.environ.get("DVC_ROOT", "."), "runs", run)) as writer:

        def log(step: int, scalars: Mapping[str, float]) -> None:
            for name, value in scalars.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def trackio(run: str) -> Iterator[Log]:
    """Log to trackio's own folder; shown by `trackio show --project diffusion`."""
    import trackio

    trackio.init(project="diffusion", name=run)
    try:
        yield lambda step, scalars: trackio.log(dict(scalars), step=step)
    finally:
        trackio.finish()


LOGGERS: dict[str, Callable[[str], AbstractContextManager[Log]]] = {
    "none": nowhere,
    "tensorboard": tensorboard,
    "trackio": trackio,
}
