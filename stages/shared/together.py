"""The processes that share a stage's work: their number, and their start by torchrun's own agent, inside the stage.

Their number changes results by rounding at most, so no stage depends on it.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable

import torch

from diffusion.processes import Left, joined, speaks_first
from diffusion.runtime import pick_device
from stages.params.params import Params
from stages.shared.command import in_one_line
from stages.shared.start import AGENT, FROM_STAGE, GO_BACK, INTERRUPTED, SHARED

LOOPBACK = "127.0.0.1"


def in_processes(params: Params, work: Callable[[], None]) -> None:
    """Do the work of a stage: as one of the processes that torchrun has started, or else in as many as `processes` of
    params.yaml asks for.

    Of an error that all run into, one process tells. Each ends at once: its lanes may be busy for long.
    """
    device = pick_device(params.device)
    if SHARED:
        with joined(device):
            try:
                work()
            except (ValueError, OSError, MemoryError) as error:
                if sys.flags.dev_mode:
                    raise
                if not (FROM_STAGE and isinstance(error, Left)) and speaks_first(error):
                    print(f"error: {in_one_line(error)}; {GO_BACK}", file=sys.stderr, flush=True)
                os._exit(1)
        return
    number = processes_of(params.processes, device)
    if number > 1:
        run_in_processes(number)
    else:
        work()


def processes_of(asked: int | str, device: torch.device) -> int:
    """How many processes `processes` of params.yaml means: `auto` is one for every GPU, and one on a processor, whose
    cores one process keeps as busy in lanes.

    Raises ValueError for more than there are GPUs, or on a device that only one can use.
    """
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type)
    if asked == "auto":
        return most or 1
    number = int(asked)
    if most and number > most:
        raise ValueError(f"processes: {number} is not possible on {device.type} (allowed here: auto, or up to {most})")
    return number


def run_in_processes(number: int) -> None:
    """Run the command of this process in `number` processes on this machine, and wait for them.

    They share the threads that PyTorch would use here. If one fails, the others are ended: it has said why, unless it
    was killed, which raises ChildProcessError. Raises KeyboardInterrupt if this process was interrupted, once they have
    ended; a training first writes a checkpoint.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // number))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # of sockets that close: what matters is raised
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id=AGENT,
            rdzv_backend="c10d",
            rdzv_endpoint=f"{LOOPBACK}:0",  # any free port
            local_addr=LOOPBACK,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)(*sys.orig_argv[1:])
        except SignalException as error:
            raise KeyboardInterrupt from error
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            if {*codes.values()} == {INTERRUPTED}:
                raise KeyboardInterrupt from error
            killed = [rank for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM]  # that one is ours
            if not killed:
                sys.exit(1)
            print(file=sys.stderr)  # behind the progress bar that it left
            name = signal.Signals(-codes[killed[0]]).name
            raise ChildProcessError(
                f"process {killed[0]} of {number} was killed by {name} (SIGKILL by nobody known: memory ran out)"
            ) from error
