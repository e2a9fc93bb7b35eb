"""`make distill`: models for few network evaluations, and their quality.

They are students of the default model for 8, 4, 2 and 1 evaluations, and MeanFlow for 2 and 1, which has no teacher.
Writes the models to --students, and distilled.csv and distilled.json (what they were made from, and how long it took)
to --report. Each works for its own number of DDIM steps only:

    python -m diffusion.sample --model models/students/4.safetensors --steps 4 --out digits.png
    python -m diffusion.sample --model models/students/mean_flow_1.safetensors --steps 1 --out digits.png
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffusion.data import Dataset
from diffusion.denoiser import Denoiser, load_denoiser, save_denoiser
from diffusion.distillation import distillation_loss
from diffusion.mean_flow import PATH, mean_flow_loss, with_intervals, with_steps
from diffusion.nets.table import build_net
from diffusion.runtime import describe_machine, place
from diffusion.samplers.table import SamplerSetting
from diffusion.tensors import load_tensors
from diffusion.training.loop import Learner, training_step
from diffusion.training.optimiser import Ema, Optimiser
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.judged import open_judged
from stages.shared.origin import origin_of
from stages.shared.outputs import write_json, write_table
from stages.shared.progress import run_training
from studies.frontier import COLUMNS, about_model, quality_rows

UPDATES = {8: 800, 4: 800, 2: 1600, 1: 2400}  # sampling steps of a student: training steps
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
EMA_DECAY = 0.99
TEACHER_STEPS = 50  # of the row that students are compared with
MEAN_FLOW_UPDATES = 5000  # in about as many seconds as the students together
MEAN_FLOW_STEPS = (2, 1)  # sampling steps, of the same network
MEAN_FLOW_LEARNING_RATE = 2e-3  # from the first weights on, as in `train` of params.yaml
MEAN_FLOW_EMA_DECAY = 0.995


def main(params: Params, *, data: Path, card: Path, model: Path, judge: Path, students: Path, report: Path) -> None:
    """Distil --model on --data (its card: --card), train MeanFlow on it, judge all by --judge; write --students and
    --report."""
    teacher, reference = open_judged(params, data, model, judge)
    _, description = load_tensors(model)
    compared = [("teacher", TEACHER_STEPS, teacher)]
    with clock() as of_students:
        for num_steps, student in distil(teacher, reference.train, params.seed):
            save_denoiser(students / f"{num_steps}.safetensors", student.net.state_dict(), description)
            compared.append(("student", num_steps, student))
    with clock() as of_mean_flow:
        net = train_mean_flow(description["net"], reference.train, params.seed, teacher.device, teacher.precision)
    description |= {"schedule": PATH, "target": PATH}
    for num_steps in MEAN_FLOW_STEPS:
        path = students / f"mean_flow_{num_steps}.safetensors"
        save_denoiser(path, with_steps(net, num_steps).state_dict(), description)
        compared.append(("mean_flow", num_steps, load_denoiser(path, teacher.device, teacher.precision)[0]))

    def rows() -> Iterator[list[object]]:
        for name, num_steps, denoiser in compared:
            setting = [SamplerSetting("ddim", num_steps, 0.0)]
            for row in quality_rows(denoiser, setting, reference, params.sampling.batch_size):
                yield [name, *row]

    write_table(report / "distilled.csv", ["model", *COLUMNS], rows())
    mean_flow = of_mean_flow | {"updates": MEAN_FLOW_UPDATES}
    about = origin_of(card) | about_model(params, model) | of_students | {"updates": UPDATES, "mean_flow": mean_flow}
    write_json(report / "distilled.json", about | describe_machine(teacher.device, teacher.precision))


@contextmanager
def clock() -> Iterator[dict[str, object]]:
    """Yield a record that holds the seconds of the block behind it, by the wall and of all cores."""
    found: dict[str, object] = {}
    start = time.monotonic(), time.process_time()
    yield found
    found["seconds"] = round(time.monotonic() - start[0])
    found["cpu_seconds"] = round(time.process_time() - start[1])


def distil(teacher: Denoiser, data: Dataset, seed: int) -> Iterator[tuple[int, Denoiser]]:
    """Yield (number of steps, student) for every entry of UPDATES; each student is the next one's teacher."""
    images, labels = data.images.to(teacher.device), data.labels.to(teacher.device)
    for num_steps, updates in UPDATES.items():
        net = copy.deepcopy(teacher.net).train().requires_grad_(True)
        ema, optimiser = Ema(net, EMA_DECAY), Optimiser(net.parameters(), LEARNING_RATE, updates, warmup_steps=20)
        student = Denoiser(net, teacher.schedule, teacher.target, teacher.precision)
        learners = {"student": Learner(net, distillation_loss(student, teacher, num_steps), optimiser, ema)}
        options = {"batch_size": BATCH_SIZE, "seed": seed, "purpose": f"distil/{num_steps}"}
        update = training_step(learners, images, labels, **options)
        run_training(f"student of {num_steps} steps", update, learners, updates, BATCH_SIZE, log_every=25)
        teacher = Denoiser(ema.net, teacher.schedule, teacher.target, teacher.precision)
        yield num_steps, teacher


def train_mean_flow(
    arguments: dict[str, Any], data: Dataset, seed: int, device: torch.device, precision: str
) -> nn.Module:
    """A network `with_intervals` trained from its first weights; arguments are those of the plain one (`build_net`)."""
    images, labels = data.images.to(device), data.labels.to(device)
    torch.manual_seed(seed)
    net = place(with_intervals(build_net(arguments)), device)
    ema = Ema(net, MEAN_FLOW_EMA_DECAY)
    optimiser = Optimiser(
        net.parameters(), MEAN_FLOW_LEARNING_RATE, MEAN_FLOW_UPDATES, weight_decay=0.01, warmup_steps=100
    )
    learners = {"mean_flow": Learner(net, mean_flow_loss(net, precision), optimiser, ema)}
    update = training_step(learners, images, labels, batch_size=BATCH_SIZE, seed=seed, purpose="mean_flow")
    run_training("MeanFlow", update, learners, MEAN_FLOW_UPDATES, BATCH_SIZE, log_every=25)
    return ema.net


if __name__ == "__main__":
    run(main)
