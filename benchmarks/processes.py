"""Part of `make bench`: training and sampling in one process of all threads, and in as many processes of one thread."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch

from benchmarks.bench import sampling, training
from diffusion.processes import joined, rank
from diffusion.runtime import stopwatch
from stages.params.params import Params
from stages.shared.machine import machine_of
from stages.shared.together import processes_of

LAUNCHES = 3  # of each, in turn
ROUNDS = 5  # in a launch, after a warm-up


def rates(number: int, threads: int) -> dict[str, float]:
    """Images per second of training and sampling in so many processes, each of so many threads."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run(
        [*torchrun, "-m", "benchmarks.processes"], env=environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(ended.stdout)


def main() -> None:
    """Print a table: one process beside as many as there are threads, or GPUs."""
    device, _ = machine_of(Params.load(Path()))
    threads = torch.get_num_threads()
    most = processes_of("auto", device) if device.type == "cuda" else threads
    if most < 2:
        print("\nprocesses: one thread or GPU has nothing to share")
        return
    settings = {1: threads, most: max(1, threads // most)}
    found: dict[int, list[dict[str, float]]] = {number: [] for number in settings}
    for _ in range(LAUNCHES):
        for number, of_each in settings.items():
            found[number].append(rates(number, of_each))
    print(f"\nimages/s in processes: medians of {LAUNCHES} launches, in turn, of {ROUNDS} rounds each\n")
    heads = [f"{number} x {of_each} threads" for number, of_each in settings.items()]
    print(f"{'':24} {heads[0]:>14} {heads[1]:>14} {'ratio':>6}")
    for name in found[1][0]:
        alone, shared = (median(launch[name] for launch in found[number]) for number in settings)
        print(f"{name:24} {alone:14.0f} {shared:14.0f} {shared / alone:6.2f}")


def measure() -> None:
    """Measure in the processes that torchrun has started; the first prints JSON."""
    params = Params.load(Path())
    device, precision = machine_of(params)
    with joined(device) if int(os.environ["WORLD_SIZE"]) > 1 else nullcontext():
        found = {}
        for work in (training(params, device, precision), sampling(params, device, precision)):
            seconds = []
            for _ in range(1 + ROUNDS):
                with stopwatch(device) as elapsed:
                    work.lanes()
                seconds += elapsed
            found[work.name] = work.images / median(seconds[1:])
        if rank() == 0:
            print(json.dumps(found))


if __name__ == "__main__":
    measure() if "WORLD_SIZE" in os.environ else main()
