"""The judge, the reference and the verdict, on real 8x8 digits that scikit-learn ships."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from diffusion.data import Dataset, to_float
from diffusion.nets.classifier import Classifier
from diffusion.nets.lenet import LeNet
from diffusion.objective import Draws
from diffusion.quality.evaluation import Reference, Verdict, verdict
from diffusion.quality.judge import NOISY, SECOND, Judge, augment, judge_loss, recognisability, recolour
from diffusion.sources.splits import load_splits
from diffusion.tensors import save_model, save_tensors
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Optimiser

CPU = torch.device("cpu")
STEPS, BATCH_SIZE = 150, 32


def trained(train: Dataset, knows_noise: bool) -> Judge:
    torch.manual_seed(0)
    net = Classifier(8, 1, 10, width=16, knows_noise=knows_noise)
    optimiser = Optimiser(net.parameters(), 3e-3, STEPS)
    learners = {"judge": Learner(net, judge_loss(net, precision="fp32"), optimiser)}
    update = training_step(learners, train.images, train.labels, batch_size=BATCH_SIZE, seed=0, purpose="judge")
    assert [p.step for p in fit(update, state_of(learners), STEPS, STEPS)] == [STEPS]
    return Judge(net, CPU)


@pytest.fixture(scope="module")
def splits() -> tuple[Dataset, Dataset]:
    """Train and test, 600 digits to judge in the second."""
    found = load_splits("digits", Path(), torch.Generator().manual_seed(0))
    pool = Dataset(
        torch.cat([found.test.images, found.train.images]),
        torch.cat([found.test.labels, found.train.labels]),
        found.train.class_names,
    )
    return pool.take(slice(600, None)), pool.take(slice(600))


@pytest.fixture(scope="module")
def judge(splits: tuple[Dataset, Dataset]) -> Judge:
    return trained(splits[0], knows_noise=False)


@pytest.fixture(scope="module")
def noisy_judge(splits: tuple[Dataset, Dataset]) -> Judge:
    return trained(splits[0], knows_noise=True)


@pytest.fixture(scope="module")
def reference(judge: Judge, splits: tuple[Dataset, Dataset]) -> Reference:
    return Reference(judge, *splits, seed=0)


def of_class(data: Dataset, label: int, number: int) -> torch.Tensor:
    return data.images[data.labels == label].repeat(20, 1, 1, 1)[:number]


def test_judge_recognises_digits_it_has_not_seen(judge: Judge, splits: tuple[Dataset, Dataset]) -> None:
    seen = judge.see(splits[1].images)
    assert (seen.logits.argmax(1) == splits[1].labels).float().mean() > 0.9
    assert seen.features.shape == (600, 128) and seen.features.dtype == torch.float32


def test_features_do_not_depend_on_the_other_images(judge: Judge, splits: tuple[Dataset, Dataset]) -> None:
    whole = judge.see(splits[1].images)
    part = judge.see(splits[1].images[250:260])
    torch.testing.assert_close(part.features, whole.features[250:260], atol=1e-5, rtol=0)
    as_float = judge.see(to_float(splits[1].images))
    torch.testing.assert_close(as_float.features, whole.features, atol=1e-5, rtol=0)


def test_test_digits_are_perfect_and_training_digits_are_the_floor(
    reference: Reference, splits: tuple[Dataset, Dataset]
) -> None:
    train, test = splits
    itself = verdict(reference, test.images, test.labels)
    assert itself.fid == pytest.approx(0, abs=1e-6) and itself.kid < 0
    assert itself.precision == itself.recall == itself.coverage == itself.clipped_coverage == 1
    assert itself.diversity == pytest.approx(1)
    floor = reference.floor(500, draws=3)
    assert floor.n == 500 and floor.draws == 3
    fresh = verdict(reference, train.images[:500], train.labels[:500])
    for name in ("fid", "kid", "precision", "recall", "clipped_density", "coverage", "clipped_coverage"):
        assert getattr(fresh, name) == pytest.approx(floor.mean[name], abs=4 * floor.std[name] + 0.02), name
    assert floor.mean["coverage"] > 0.8 and floor.std["fid"] > 0


def test_samples_of_one_class_are_precise_but_cover_little(
    reference: Reference, splits: tuple[Dataset, Dataset]
) -> None:
    zeros = of_class(splits[0], 0, 500)
    seen = verdict(reference, zeros, torch.arange(500) % 10)
    floor = reference.floor(500, draws=2)
    assert seen.precision > 0.8
    assert seen.coverage < 0.2 and seen.recall < 0.5 * floor.mean["recall"] + 0.2
    assert seen.fid > 10 * floor.mean["fid"] and seen.kid > 10 * abs(floor.mean["kid"])
    assert seen.accuracy == pytest.approx(0.1, abs=0.01)
    assert seen.accuracy_by_class[0] > 0.9 and max(seen.accuracy_by_class[1:]) < 0.05


def test_coverage_within_classes_sees_a_class_of_copies(reference: Reference, splits: tuple[Dataset, Dataset]) -> None:
    """One image per class, of which copies are made, is what a collapsed conditional model draws."""
    train = splits[0].take(slice(600))
    features = reference.judge.see(train.images).features
    fresh = reference.coverage_within_classes(features, train.labels)
    first = torch.stack([features[train.labels == k][0] for k in range(10)])
    copies = first[train.labels] + 1e-4 * torch.randn(600, 128, generator=torch.Generator().manual_seed(0))
    assert fresh > 0.8 and reference.coverage_within_classes(copies, train.labels) < 0.5 * fresh
    assert reference.coverage_within_classes(features, (train.labels + 1) % 10) < 0.1  # of other classes
    assert reference.coverage_within_classes(features[:400], train.labels[:400]) is None


def test_recall_can_be_asked_for_among_some_of_the_real_images(
    reference: Reference, splits: tuple[Dataset, Dataset]
) -> None:
    train, test = splits
    features = reference.judge.see(train.images[train.labels != 3][:600]).features  # samples of all classes but one
    with_it, without_it = (
        reference.recall_of(features, torch.where(rows)[0]) for rows in (test.labels == 3, test.labels != 3)
    )
    assert without_it > 0.8 and with_it < 0.5 * without_it
    every = torch.arange(len(test.images))
    assert reference.recall_of(features, every) == reference.quality(features).recall
    assert reference.recall_of(features[:499], every) is None and reference.recall_of(features, every[:5]) is None


def test_noise_is_judged_bad(reference: Reference) -> None:
    noise = torch.rand(500, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = verdict(reference, noise, torch.arange(500) % 10)
    assert seen.coverage < 0.3 and seen.accuracy < 0.3 and seen.fid > 3 * reference.floor(500, draws=2).mean["fid"]


def test_few_samples_have_no_fid(reference: Reference, splits: tuple[Dataset, Dataset]) -> None:
    few = verdict(reference, splits[0].images[:64], splits[0].labels[:64])
    assert few.fid is None and few.coverage is None and few.precision is None
    assert math.isfinite(few.kid) and few.kid_std > 0
    assert (
        few.as_dict().keys() >= {"n", "accuracy", "fid", "kid", "kid_std", "clipped_density"}
        and few.as_dict()["n"] == 64
    )
    floor = reference.floor(64, draws=2)
    assert floor.mean["fid"] is None and floor.std["kid"] >= 0


def test_classes_without_samples_have_no_accuracy(reference: Reference, splits: tuple[Dataset, Dataset]) -> None:
    seen: Verdict = verdict(reference, of_class(splits[0], 3, 8), torch.full((8,), 3))
    assert seen.accuracy_by_class[3] > 0.5 and seen.accuracy_by_class[4] is None
    assert verdict(reference, splits[0].images[:4], torch.arange(4)).diversity is None


def test_bad_samples_are_refused(reference: Reference, splits: tuple[Dataset, Dataset]) -> None:
    bad = to_float(splits[0].images[:8])
    bad[3, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="judge: images hold NaN"):
        verdict(reference, bad, splits[0].labels[:8])
    with pytest.raises(ValueError, match=r"allowed: \(N, 1, 8, 8\)"):
        verdict(reference, torch.zeros(8, 3, 8, 8), splits[0].labels[:8])


def test_memorisation_of_training_images_and_of_test_images(
    reference: Reference, splits: tuple[Dataset, Dataset]
) -> None:
    train, test = splits
    assert reference.memorisation(train.images[:50]).ratio_median == pytest.approx(0, abs=1e-6)
    assert reference.memorisation(test.images).ratio_median == 1


def test_what_flat_images_leave_undefined_is_not_measured(judge: Judge) -> None:
    """Two classes of one grey each: real images have neither diversity nor sharpness to compare with."""
    greys = torch.tensor([100, 160], dtype=torch.uint8).repeat(30)
    flat = Dataset(greys.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), torch.arange(60) % 2, tuple("0123456789"))
    reference = Reference(judge, flat, flat, seed=0)
    assert verdict(reference, flat.images, flat.labels).diversity is None
    assert reference.sharpness(flat.images) is None
    assert reference.memorisation(flat.images)[:2] == (None, None)


def test_judge_comes_back_from_its_file(noisy_judge: Judge, splits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    noisy_judge.save(tmp_path / "judge.safetensors")
    again = Judge.load(tmp_path / "judge.safetensors", CPU, NOISY)
    images = splits[1].images[:20]
    assert again.net.arguments == noisy_judge.net.arguments
    assert torch.equal(again.see(images, 1.0).features, noisy_judge.see(images, 1.0).features)
    noisy_judge.save(tmp_path / "twice.safetensors")
    assert (tmp_path / "twice.safetensors").read_bytes() == (tmp_path / "judge.safetensors").read_bytes()


def test_damaged_foreign_and_missing_judges_are_one_line(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    judge.save(path)
    whole = path.read_bytes()
    foreign = tmp_path / "foreign.safetensors"
    save_tensors(foreign, {"weight": torch.zeros(3)}, {"net": {}})
    other = tmp_path / "other.safetensors"
    save_model(other, "judge", {"weight": torch.zeros(3)}, {"classifier": judge.net.arguments})
    path.write_bytes(whole[: len(whole) // 2])
    for broken in (path, foreign, other, tmp_path / "missing.safetensors"):
        with pytest.raises(ValueError, match=broken.name) as caught:
            Judge.load(broken, CPU)
        assert "\n" not in str(caught.value)


def test_recognisability_falls_with_noise_to_chance(noisy_judge: Judge, splits: tuple[Dataset, Dataset]) -> None:
    clean, some, none = recognisability(noisy_judge, splits[1].images, splits[1].labels, [1.0, 0.5, 0.0], seed=0)
    assert clean > 0.85 and 0.3 < some < clean and none < 0.2
    again = recognisability(noisy_judge, splits[1].images, splits[1].labels, [0.5], seed=0)
    assert again == [some]


class Recorder(nn.Module):
    """A judge of noised images that remembers what it was shown."""

    knows_noise = True

    def forward(self, x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        self.x_t, self.log_snr = x, log_snr
        return torch.zeros(len(x), 10)


def test_noisy_judge_is_trained_on_x_t_of_every_log_snr() -> None:
    white, net = torch.ones(400, 1, 16, 16), Recorder()  # x_0 = 1, however it is moved
    judge_loss(net, precision="fp32")(white, torch.zeros(400, dtype=torch.long), Draws(0, "judge", 0, CPU, 400))
    alpha_bar = torch.sigmoid(net.log_snr)[:, None, None, None]
    eps = (net.x_t - alpha_bar.sqrt()) / (1 - alpha_bar).sqrt()
    assert abs(eps.mean()) < 0.02 and abs(eps.std() - 1) < 0.02 and abs(eps.mean((1, 2, 3)).std() * 16 - 1) < 0.2
    assert net.log_snr.min() < -9.5 and net.log_snr.max() > 9.5 and abs(net.log_snr.mean()) < 1


def test_augmentation_moves_a_little_and_never_mirrors() -> None:
    left = torch.full((200, 1, 28, 28), -1.0)
    left[:, :, 8:20, 6:10] = 1  # a stroke that no small move takes over the middle
    uniform = torch.rand(6, 200, generator=torch.Generator().manual_seed(0))
    moved = augment(left, uniform)
    assert (moved[..., 15:].amax((1, 2, 3)) < 0).all()
    assert moved.shape == left.shape and (moved - left).abs().amax((1, 2, 3)).min() > 0.1
    assert torch.equal(moved, augment(left, uniform))
    zoomed = augment(left, uniform, torch.rand(200, generator=torch.Generator().manual_seed(1)))
    assert (zoomed[..., 16:].amax((1, 2, 3)) < 0).all()
    area = (zoomed > 0).sum((1, 2, 3)) / (moved > 0).sum((1, 2, 3))
    assert area.min() < 0.8 and area.max() > 1.2


def test_other_colours_are_a_little_lighter_darker_and_tinted() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(200, 3, 8, 8, generator=generator) * 2 - 1
    seen = recolour(images, torch.rand(5, 200, generator=generator))
    assert seen.shape == images.shape and seen.abs().max() <= 1
    torch.testing.assert_close(recolour(images, torch.full((5, 200), 0.5)), images)
    change = (seen - images).mean((2, 3))  # of every channel
    assert change.abs().max() < 0.5 and change.min() < -0.05 and change.max() > 0.05
    assert (change - change.mean(1, keepdim=True)).abs().max() > 0.02
    flat = images.flatten(2).sort(2).indices
    assert torch.equal(recolour(images / 2, torch.rand(5, 200)).flatten(2).sort(2).indices, flat)  # no detail is lost


def test_variety_leaves_all_other_draws_as_they_are() -> None:
    """A judge that is trained without it is the same to the bit as before there was such a thing."""
    net, images, labels = Classifier(8, 3, 4, width=8, knows_noise=True), torch.rand(6, 3, 8, 8), torch.arange(6) % 4
    plain, varied = Draws(0, "judge", 0, CPU, 6), Draws(0, "judge", 0, CPU, 6)
    judge_loss(net, precision="fp32")(images, labels, plain)
    judge_loss(net, precision="fp32", varied=True)(images, labels, varied)
    assert {of for of, _ in plain.streams} == {"draw"} and {of for of, _ in varied.streams} == {"draw", "variety"}
    assert torch.equal(plain.normal((3,), of="draw"), varied.normal((3,), of="draw"))


@pytest.mark.parametrize(("size", "channels"), [(4, 1), (8, 1), (15, 1), (25, 1), (28, 1), (32, 3), (64, 3)])
@pytest.mark.parametrize("knows_noise", [False, True])
def test_classifier_takes_any_image(size: int, channels: int, knows_noise: bool) -> None:
    net = Classifier(size, channels, 7, width=8, knows_noise=knows_noise).eval()
    x, log_snr = torch.randn(3, channels, size, size), torch.linspace(-10, 10, 3) if knows_noise else None
    assert net.features(x, log_snr).shape == (3, 128) and net(x, log_snr).shape == (3, 7)


def test_classifier_refuses_tiny_images() -> None:
    with pytest.raises(ValueError, match="allowed: 4 or more"):
        Classifier(3, 1, 10)


@pytest.mark.parametrize(("size", "channels"), [(4, 1), (8, 1), (28, 1), (33, 3), (64, 3)])
def test_the_second_judge_takes_any_image_and_comes_back_from_its_file(
    size: int, channels: int, tmp_path: Path
) -> None:
    second, images = Judge(LeNet(size, channels, 7, width=4), CPU), torch.rand(3, channels, size, size)
    seen = second.see(images)
    assert seen.features.shape == (3, 128) and seen.logits.shape == (3, 7)
    second.save(tmp_path / "second.safetensors")
    again = Judge.load(tmp_path / "second.safetensors", CPU, SECOND)
    assert torch.equal(again.see(images).logits, seen.logits)
    with pytest.raises(ValueError, match="second"):
        Judge.load(tmp_path / "second.safetensors", CPU)
