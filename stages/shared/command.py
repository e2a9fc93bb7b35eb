"""How a stage starts and how it fails: paths from the command line, a user's mistake as one line."""

import argparse
import errno
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

GO_BACK = "to get the last results back: git restore reports dvc.lock && dvc checkout"
MENDS = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "see ulimit -f",
    errno.EROFS: "its disk can only be read: mount it for writing",
    errno.EACCES: "see its permissions and those of its folder",
    errno.EPERM: "see its permissions and those of its folder",
}


def run(main: Callable[..., None]) -> None:
    """Run a stage `main(params: Params, *, data: Path, ...)`: its signature says what it reads.

    The type of its params says which files of params are loaded and validated; every keyword is given as `--NAME PATH`.

    A ValueError or OSError is the user's to mend: it is printed as one line and the stage exits with 1. Under
    `python -X dev` it is raised with its traceback instead. SIGINT (Ctrl-C) and SIGTERM end it in one line too.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see stages/__init__.py; where it is ignored, it stays so
        signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog=f"python -m {main.__globals__['__spec__'].name}", description=main.__doc__)
    kind, *paths = inspect.signature(main, eval_str=True).parameters.values()
    for path in paths:
        parser.add_argument(f"--{path.name}", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        main(kind.annotation.load(Path()), **vars(arguments))
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {in_one_line(error)}; {GO_BACK}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; {GO_BACK}")


def in_one_line(error: ValueError | OSError) -> str:
    """What went wrong; where the operating system refused, its path comes first and what can be done about it last."""
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        mend = MENDS.get(error.errno or 0)
        text = f"{error.filename}: {error.strerror}" + (f" ({mend})" if mend else "")
    return " ".join(text.split())


def checkpoints_folder() -> Path:
    """Where interrupted trainings wait: in the original repository, also when an experiment runs in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / "checkpoints"
