"""A ladder of spoilt images on a small set of coloured, textured shapes: whether an extractor sees what is bad."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.ladder import LADDERS, Ladder, blind_measures, climb
from diffusion.data import Dataset, to_float, to_uint8
from diffusion.nets.classifier import Classifier
from diffusion.quality.evaluation import Reference
from diffusion.quality.extractor import describe_by, fitted_extractor
from diffusion.quality.judge import Judge, judge_loss
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Optimiser

CPU = torch.device("cpu")
SIDE, STEPS = 24, 60


def shapes(number: int, seed: int) -> Dataset:
    """Discs, squares and triangles in any two colours, of any size and place, striped or plain, on white."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(number, 12, generator=generator)[:, :, None, None]
    label = torch.arange(number) % 3
    size, x_0, y_0, angle, pitch = (draw[:, k] for k in range(5))
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    x, y, size = x - 0.6 * x_0 + 0.3, y - 0.6 * y_0 + 0.3, 0.3 + 0.4 * size
    radii = torch.stack([(x**2 + y**2).sqrt(), torch.maximum(x.abs(), y.abs()), torch.maximum(2 * x.abs() - y, y)])
    inside = (radii[label, torch.arange(number)] < size)[:, None]
    along = x * (math.pi * angle).cos() + y * (math.pi * angle).sin()
    striped = ((2 * math.pi * along * (1 + 4 * pitch)).sin() > 0)[:, None] & (draw[:, 11:] < 0.7)
    colours = 2 * draw[:, 5:11] - 1
    painted = torch.where(striped, colours[:, :3], colours[:, 3:])
    return Dataset(to_uint8(torch.where(inside, painted, 1.0)), label, ("disc", "square", "triangle"))


@pytest.fixture(scope="module")
def judge() -> Judge:
    """With its own features, after little training."""
    train = shapes(1000, 0)
    torch.manual_seed(0)
    net = Classifier(SIDE, 3, 3, width=16)
    learners = {"judge": Learner(net, judge_loss(net, precision="fp32"), Optimiser(net.parameters(), 3e-3, STEPS))}
    update = training_step(learners, train.images, train.labels, batch_size=32, seed=0, purpose="judge")
    assert [p.step for p in fit(update, state_of(learners), STEPS, STEPS)] == [STEPS]
    return Judge(net, CPU)


@pytest.fixture(scope="module")
def reference(judge: Judge) -> Reference:
    return Reference(judge, shapes(1000, 0), shapes(500, 1), seed=0)


@pytest.fixture(scope="module")
def fixed(reference: Reference) -> Reference:
    """The same real images, in the features of fixed filters."""
    extractor = fitted_extractor("fixed", describe_by("fixed", Path()), reference.train.images, CPU)
    return replace(reference, judge=replace(reference.judge, extractor=extractor))


def clear(ladder: Ladder) -> Ladder:
    """Without its mildest rung, which on 500 images is within chance of the real ones."""
    return ladder._replace(degrees=ladder.degrees[1:])


def blind(reference: Reference, ladder: Ladder) -> list[str]:
    return blind_measures(ladder, [row for _, row in climb(reference, ladder)])


@pytest.mark.parametrize("kind", LADDERS)
def test_every_measure_gets_worse_with_every_rung(fixed, kind):
    assert blind(fixed, clear(LADDERS[kind])) == []


@pytest.mark.parametrize("kind", ["blurred", "flattened"])
def test_features_of_a_weak_judge_take_blobs_for_real_images(reference, kind):
    """What the ladder is for: it tells one extractor from another."""
    assert {"precision", "clipped_density"} <= set(blind(reference, clear(LADDERS[kind])))


def test_a_measure_that_stays_or_rises_where_it_should_fall_is_blind():
    rows = [{"fid": 1.0, "coverage": 0.5}, {"fid": 2.0, "coverage": 0.0}, {"fid": 3.0, "coverage": 0.0}]
    ladder = LADDERS["noised"]._replace(measures=("fid", "coverage"))
    assert blind_measures(ladder, rows) == []
    assert blind_measures(ladder, [rows[0] | {"fid": 2.0}, *rows[1:]]) == ["fid"]
    assert blind_measures(ladder, [rows[0] | {"coverage": 0.0}, rows[0], rows[1]]) == ["fid", "coverage"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["noised", "blurred", "flattened", "scrambled"])
def test_rungs_lie_further_and_further_from_the_image(kind, channels):
    images = to_float(shapes(100, 0).images[:, :channels, :-1, :-1])  # a side that tiles do not divide
    ladder = LADDERS[kind]
    spoilt = [ladder.spoil(images, degree, torch.Generator().manual_seed(0)) for degree in ladder.degrees]
    distances = [(image - images).square().mean().item() for image in spoilt]
    assert distances == sorted(distances) and distances[0] > 0 and len(set(distances)) == len(distances)
    assert all(image.shape == images.shape and image.dtype == torch.float32 for image in spoilt)
    if kind in ("blurred", "scrambled"):
        torch.testing.assert_close(spoilt[0].mean(), images.mean(), atol=0.02, rtol=0)
    if kind == "scrambled":
        assert torch.equal(spoilt[-1].flatten(2).sort(2).values, images.flatten(2).sort(2).values)
