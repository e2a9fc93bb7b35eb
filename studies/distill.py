"""`make distill`: students of the default model for 8, 4, 2 and 1 network evaluations, and their quality.

Writes the students to --students, and distilled.csv and distilled.json (what the students were made from, and how long
it took) to --report. Each student works for its own number of DDIM steps only:

    python -m diffusion.sample --model models/students/4.safetensors --steps 4 --out digits.png
"""

import copy
import time
from collections.abc import Iterator
from pathlib import Path

from diffusion.data import Dataset
from diffusion.denoiser import Denoiser, save_denoiser
from diffusion.distillation import distillation_loss
from diffusion.runtime import describe_machine
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


def main(params: Params, *, data: Path, card: Path, model: Path, judge: Path, students: Path, report: Path) -> None:
    """Distil --model on --data (its card: --card), judge every student by --judge; write --students and --report."""
    teacher, reference = open_judged(params, data, model, judge)
    _, description = load_tensors(model)
    start = time.monotonic()
    trained = {}
    for num_steps, student in distil(teacher, reference.train, params.seed):
        save_denoiser(students / f"{num_steps}.safetensors", student.net.state_dict(), description)
        trained[num_steps] = student
    seconds = time.monotonic() - start

    def rows() -> Iterator[list[object]]:
        compared = [
            (TEACHER_STEPS, teacher, "teacher"),
            *((n, student, "student") for n, student in trained.items()),
        ]
        for num_steps, denoiser, name in compared:
            setting = [SamplerSetting("ddim", num_steps, 0.0)]
            for row in quality_rows(denoiser, setting, reference, params.sampling.batch_size):
                yield [name, *row]

    write_table(report / "distilled.csv", ["model", *COLUMNS], rows())
    about = origin_of(card) | about_model(params, model) | {"seconds": round(seconds), "updates": UPDATES}
    machine = describe_machine(teacher.device, teacher.precision)
    write_json(report / "distilled.json", about | machine)


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


if __name__ == "__main__":
    run(main)
