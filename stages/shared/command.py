"""How a stage starts and how it fails: paths come from the command line, a user's mistake ends it with one line."""

import argparse
import errno
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from diffusion.memory import shortage_explained
from stages.params.memory import memory_keys
from stages.params.params import Params
from stages.shared.interruption import interruptible
from stages.shared.plan import announced
from stages.shared.start import GO_BACK, RANK

REMEDIES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "see ulimit -f",
    errno.EROFS: "its disk is read-only: mount it for writing",
    errno.EACCES: "see its permissions and those of its folder",
    errno.EPERM: "see its permissions and those of its folder",
}


def by_first(params: Params, work: Callable[[], None]) -> None:
    """Do the work in one process; of several that torchrun has started, the others have none."""
    if not RANK:
        work()


def run(main: Callable[..., None], share: Callable[[Params, Callable[[], None]], None] = by_first) -> None:
    """Run a stage `main(params: Params, *, data: Path, ...)` as its signature asks for; `share` does the work, see
    `stages.shared.together.in_processes`.

    The type of its params says which params files are loaded and validated; every keyword is given as `--NAME PATH`.

    A ValueError, an OSError or a lack of memory is for the user to correct: it is printed as one line and the stage
    exits with status 1. Under `python -X dev` it is raised with its traceback instead. SIGINT (Ctrl-C), SIGTERM and the
    end of the DVC that runs the stage also end it in one line.
    """
    module = main.__globals__["__spec__"].name
    stage = module.rpartition(".")[2]
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=main.__doc__)
    kind, *paths = inspect.signature(main, eval_str=True).parameters.values()
    for path in paths:
        parser.add_argument(f"--{path.name}", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        with interruptible(GO_BACK), announced():
            params = kind.annotation.load(Path())

            def work() -> None:
                with shortage_explained(stage, memory_keys(stage, params)):
                    main(params, **vars(arguments))

            share(params, work)
    except (ValueError, OSError, MemoryError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {in_one_line(error)}; {GO_BACK}")


def in_one_line(error: Exception) -> str:
    """What went wrong; an error of the operating system starts with the path and ends with what to do about it."""
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        remedy = REMEDIES.get(error.errno or 0)
        text = f"{error.filename}: {error.strerror}" + (f" ({remedy})" if remedy else "")
    return " ".join(text.split())
