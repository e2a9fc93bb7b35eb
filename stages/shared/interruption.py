"""How a process ends before its work is done: by Ctrl-C, by SIGTERM, or because the DVC that started it has ended.

Each of them raises KeyboardInterrupt in the main thread, so that clean-up runs.
"""

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from stages.shared import start

POLL_SECONDS = 0.5  # between two looks at whether DVC is there
GRACE_SECONDS = 10.0  # for clean-up, and for a checkpoint
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """End the process with status 1 and one line, `advice` at its end, if the block is interrupted.

    A block that is not left within GRACE_SECONDS, in a long call or waiting for threads, is ended where it is.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see stages/__init__.py; an ignored SIGINT stays ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signals, sender = socket.socketpair()  # Python sends a byte for each signal, also while the main thread is busy
    sender.setblocking(False)
    left = threading.Event()
    watch = threading.Thread(target=_watch, args=(signals, left, advice), daemon=True)
    before = signal.set_wakeup_fd(sender.fileno())
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        _end(advice)
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        sender.close()
        watch.join()
        signals.close()


@contextmanager
def held_back(interrupted: threading.Event) -> Iterator[None]:
    """Let an interruption set `interrupted` instead, and raise it at the end of the block; a second one is raised at
    once."""

    def note(_number: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    taken = [number for number in SIGNALS if signal.getsignal(number) is signal.default_int_handler]
    for number in taken:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.default_int_handler)
    if interrupted.is_set():
        raise KeyboardInterrupt


def orphaned() -> bool:
    """Whether the DVC, or the stage, that started this process has ended. A process started by hand may outlive its
    shell."""
    return (start.FROM_STAGE or "DVC_STAGE" in os.environ) and os.getppid() != start.PARENT


def _watch(signals: socket.socket, left: threading.Event, advice: str) -> None:
    """Interrupt the main thread if DVC ends, and end the process if an interruption has not ended it in time."""
    main = threading.main_thread().ident
    assert main
    while not select.select([signals], [], [], POLL_SECONDS)[0]:
        if orphaned():
            signal.pthread_kill(main, signal.SIGTERM)
    if signals.recv(1) and not left.wait(GRACE_SECONDS):  # no byte: the block has ended
        _end(advice)


def _end(advice: str) -> NoReturn:
    """End at once: Python itself would wait for all threads, and they may be busy for long. One process of all speaks:
    the stage that started the others, or the first."""
    reason = "stopped, because DVC has ended" if orphaned() else "interrupted"
    with suppress(OSError):  # nobody may be there to read it
        sys.stdout.flush()
        if not (start.RANK or start.FROM_STAGE):
            print(f"{reason}; {advice}", file=sys.stderr, flush=True)
    os._exit(start.INTERRUPTED if start.FROM_STAGE else 1)
