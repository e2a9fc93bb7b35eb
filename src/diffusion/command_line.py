"""What the console scripts have in common: whatever a user can do wrong is told in one line."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that raises ValueError, one line, for arguments that it refuses."""

    def error(self, message: str) -> NoReturn:
        """Refuse arguments like every other error, without the usage in front."""
        raise ValueError(message.removeprefix("argument "))


def run_in_one_line(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Run a command with the arguments of this process; an error that a user can cause ends it with one line and
    status 1, or with its traceback under `python -X dev`."""
    try:
        main(parser.parse_args())
    except (ValueError, OSError, MemoryError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {' '.join(str(error).split())}")
