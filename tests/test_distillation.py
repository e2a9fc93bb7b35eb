"""Progressive distillation: targets in closed form, and a student that learns what its teacher does; the study."""

import csv
import json

import torch
from pipeline import ROOT
from test_failures import write_judge, write_model, write_split

from diffusion.denoiser import Conditional, Denoiser, clipped, load_denoiser
from diffusion.distillation import ddim_step, distillation_loss, one_step_x_0
from diffusion.samplers.step import final
from diffusion.samplers.table import SamplerSetting
from diffusion.schedule import noise_schedule
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Ema, Optimiser
from stages.params.params import Params
from studies import distill, frontier

SCHEDULE = noise_schedule("linear", 100)


def random_images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_step_is_that_of_the_sampler_at_a_time_per_sample():
    x_t, x_0 = random_images(2, 1, 4, 4), random_images(2, 1, 4, 4, seed=1).clamp(-1, 1)
    found = ddim_step(SCHEDULE, x_t, x_0, torch.tensor([100.0, 50.0]), torch.tensor([50.0, 0.0]))
    two_steps = SamplerSetting("ddim", 2, 0.0)
    first = next(iter(two_steps.start(lambda x, t: x_0[:1], SCHEDULE, iter([x_t[:1]]))))
    assert first.t == 50 and torch.allclose(found[:1], first.x_t, atol=1e-6)
    assert torch.allclose(found[1:], x_0[1:], atol=1e-6)  # the step to t = 0 ends at x_0


def test_the_x_0_of_one_step_ends_where_two_steps_end():
    x_t = random_images(3, 1, 4, 4)
    t, middle, end = torch.tensor([100.0, 50.0, 25.0]), torch.tensor([75.0, 25.0, 12.5]), torch.tensor([50.0, 0.0, 0.0])
    x_middle = ddim_step(SCHEDULE, x_t, random_images(3, 1, 4, 4, seed=1), t, middle)
    x_end = ddim_step(SCHEDULE, x_middle, random_images(3, 1, 4, 4, seed=2), middle, end)
    x_0 = one_step_x_0(SCHEDULE, x_t, x_end, t, end)
    assert torch.allclose(ddim_step(SCHEDULE, x_t, x_0, t, end), x_end, atol=1e-4)


class Affine(torch.nn.Module):
    """A prediction that is affine in the image, with a shift per class: so are two steps with it."""

    def __init__(self, slope, shift):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))
        self.shift = torch.nn.Parameter(torch.tensor(shift))

    def forward(self, x, time, label):
        return self.slope * x + self.shift[label].view(-1, 1, 1, 1)


def test_a_student_learns_what_two_steps_of_its_teacher_do():
    teacher = Denoiser(Affine(0.28, [-0.3, 0.0, 0.3]), SCHEDULE, "v")
    net = Affine(0.0, [0.0, 0.0, 0.0])
    images = torch.randint(0, 256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    labels = torch.arange(20) % 3
    ema, optimiser = Ema(net, 0.9), Optimiser(net.parameters(), 0.03, 100)
    loss = distillation_loss(Denoiser(net, SCHEDULE, "v"), teacher, 1)
    learners = {"student": Learner(net, loss, optimiser, ema)}
    update = training_step(learners, images, labels, batch_size=16, seed=0, purpose="distil/1")

    def sampled(denoiser, steps):
        noise = iter([random_images(20, 1, 8, 8, seed=3)])
        denoise = clipped(Conditional(denoiser, labels))
        return final(SamplerSetting("ddim", steps, 0.0).start(denoise, SCHEDULE, noise))

    losses = [progress.means["loss"] for progress in fit(update, state_of(learners), 100, 10)]
    difference = sampled(Denoiser(ema.net, SCHEDULE, "v"), 1) - sampled(teacher, 2)
    assert losses[-1] < 0.01 * losses[0] and difference.abs().mean() < 0.01


def test_the_study_trains_and_judges_students_and_mean_flow(tmp_path, monkeypatch):
    monkeypatch.setattr(distill, "UPDATES", {2: 1, 1: 1})
    for name, value in (("MEAN_FLOW_UPDATES", 2), ("TEACHER_STEPS", 3), ("BATCH_SIZE", 4)):
        monkeypatch.setattr(distill, name, value)
    for name, value in (("NUM_SAMPLES", 20), ("SAMPLING_SEEDS", 1)):
        monkeypatch.setattr(frontier, name, value)
    for split in ("train", "test"):
        write_split(tmp_path / f"data/{split}.safetensors")
    write_model(tmp_path / "model.safetensors")
    write_judge(tmp_path / "judge.safetensors")
    (tmp_path / "card.json").write_text(json.dumps({"dataset": "digits", "checksum": None}))
    files = {name: tmp_path / f"{name}.safetensors" for name in ("model", "judge")}
    folders = {name: tmp_path / name for name in ("data", "students", "report")}
    distill.main(Params.load(ROOT).changed(["device=cpu"]), card=tmp_path / "card.json", **files, **folders)

    rows = list(csv.DictReader((tmp_path / "report/distilled.csv").open()))
    found = [(row["model"], row["calls"], row["n"]) for row in rows]
    few = [(model, calls, "20") for model in ("student", "mean_flow") for calls in "21"]
    assert found == [("teacher", "3", "20"), *few]
    record = json.loads((tmp_path / "report/distilled.json").read_text())
    assert record["updates"] == {"2": 1, "1": 1} and record["mean_flow"]["updates"] == 2
    assert {"seconds", "cpu_seconds"} <= set(record) & set(record["mean_flow"])
    made, description = load_denoiser(tmp_path / "students/mean_flow_1.safetensors", torch.device("cpu"), "fp32")
    assert (description["schedule"], description["target"]) == ("flow", "flow")
    assert made.predict(random_images(2, 1, 8, 8), made.schedule.timesteps, torch.tensor([0, 1])).abs().max() > 0
