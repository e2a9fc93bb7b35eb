"""Extractors beside the judge: fixed filters, and networks of torchvision with weights in a local file."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional as F

from diffusion.data import Dataset, save_split, to_float
from diffusion.nets.classifier import Classifier
from diffusion.quality import extractor as extractors
from diffusion.quality.extractor import (
    FilterBank,
    Pretrained,
    describe_by,
    fitted_extractor,
    principal_components,
    quadrature_pairs,
)
from diffusion.quality.judge import NOISY, Judge
from diffusion.tensors import load_tensors, save_tensors
from stages import judge as judge_stage
from stages.params.params import Params

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
NETWORK = "shufflenet_v2_x0_5"  # small


def photographs(number: int, seed: int = 0, channels: int = 3, side: int = 16) -> torch.Tensor:
    """Smooth random images, uint8."""
    noise = torch.rand(number, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (255 * F.interpolate(noise, (side, side), mode="bicubic").clamp(0, 1)).to(torch.uint8)


def grating(angle: float, phase: float, side: int = 32) -> torch.Tensor:
    """Black and white stripes 4 pixels wide from one to the next, in [-1, 1] (1, 1, H, W)."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (math.pi / 2 * (x * math.cos(angle) + y * math.sin(angle)) + phase).cos()[None, None]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder with random weights of torchvision's network, and those of another under the name of a third."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    net = torchvision.models.get_model(NETWORK, weights=None)
    save_file(net.state_dict(), folder / f"{NETWORK}.safetensors")
    save_file(net.state_dict(), folder / "resnet18.safetensors")
    return folder


@pytest.fixture(params=["fixed", f"torchvision:{NETWORK}"])
def judge(request, weights) -> Judge:
    """An untrained judge with an extractor beside it."""
    described = describe_by(request.param, weights)
    torch.manual_seed(0)
    net = Classifier(16, 3, 4, width=8)
    return Judge(net, CPU, fitted_extractor(request.param, described, photographs(60), CPU))


# fixed filters


def test_filters_see_no_brightness_and_weigh_the_same():
    filters = quadrature_pairs()
    torch.testing.assert_close(filters.sum((2, 3)), torch.zeros(8, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(filters.square().sum((2, 3)), torch.ones(8, 1))


def test_moduli_know_the_direction_of_stripes_and_not_their_place():
    bank = FilterBank()
    for k in range(extractors.ORIENTATIONS):
        angle = math.pi * k / extractors.ORIENTATIONS
        here, shifted = (bank._moduli(grating(angle, phase))[0, :, 4:-4, 4:-4] for phase in (0.0, 1.0))
        assert here.mean((1, 2)).argmax() == k
        torch.testing.assert_close(here[k].mean(), shifted[k].mean(), rtol=0.05, atol=0)
        assert here[k].std() < 0.1 * here[k].mean()


def test_flat_images_have_colours_alone():
    seen = FilterBank()(torch.full((1, 3, 16, 16), 0.5))[0]
    lightness, rest = seen[:16], seen[16:48]
    torch.testing.assert_close(lightness, torch.full((16,), 0.5))
    torch.testing.assert_close(rest, torch.zeros(32))
    torch.testing.assert_close(seen[51:], torch.full((len(seen) - 51,), math.log(extractors.QUIET)))


@pytest.mark.parametrize(("channels", "side"), [(1, 4), (1, 28), (3, 7), (3, 64)])
def test_images_of_any_size_have_features(channels, side):
    images = photographs(40, channels=channels, side=side)
    fitted = fitted_extractor("fixed", FilterBank(), images, CPU)
    seen = fitted(to_float(images))
    assert seen.shape == (40, fitted.basis.shape[1]) and seen.shape[1] <= 32 and seen.isfinite().all()


def test_features_of_the_training_split_are_white():
    images = photographs(600)
    seen = fitted_extractor("fixed", FilterBank(), images, CPU)(to_float(images)).double()
    assert seen.shape == (600, 32)
    torch.testing.assert_close(seen.mean(0), torch.zeros(32).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(seen.T.cov(correction=0), torch.eye(32).double(), atol=1e-2, rtol=0)


def test_what_does_not_vary_has_no_weight():
    """Images that are all the same, or fewer than there are components, give finite features."""
    few, flat = photographs(5), torch.full((20, 3, 16, 16), 7, dtype=torch.uint8)
    for images in (few, flat):
        seen = fitted_extractor("fixed", FilterBank(), images, CPU)(to_float(photographs(9, seed=1)))
        assert seen.isfinite().all() and seen.abs().max() < 1e4


def test_principal_components_keep_the_directions_of_largest_variance():
    spread = torch.tensor([5.0, 0.1, 3.0, 0.0, 1.0]).double()
    x = 2 + spread * torch.randn(5000, 5, generator=torch.Generator().manual_seed(0)).double()
    mean, basis = principal_components(x, 2, whitens=False)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(basis.abs(), torch.eye(5).double()[:, [0, 2]], atol=0.05, rtol=0)
    assert ((x - mean) @ basis).std(0).allclose(torch.tensor([5.0, 3.0]).double(), rtol=0.05)


# beside a judge


def test_an_extractor_changes_the_features_and_not_what_is_recognised(judge):
    images = photographs(30, seed=1)
    beside, alone = judge.see(images), replace(judge, extractor=None).see(images)
    assert torch.equal(beside.logits, alone.logits)
    assert alone.features.shape == (30, 128) and beside.features.shape[1] in (32, 128)
    torch.testing.assert_close(beside.features, judge.extractor(to_float(images)))
    assert judge.features_in_words != replace(judge, extractor=None).features_in_words


def test_a_judge_comes_back_from_its_file_with_its_extractor(judge, tmp_path):
    path, images = tmp_path / "judge.safetensors", photographs(30, seed=1)
    judge.save(path)
    again = Judge.load(path, CPU)
    for one, other in zip(again.see(images), judge.see(images), strict=True):
        assert torch.equal(one, other)
    assert again.features_in_words == judge.features_in_words


def test_without_an_extractor_a_file_holds_the_classifier_alone(judge, tmp_path):
    path = tmp_path / "judge.safetensors"
    replace(judge, extractor=None).save(path)
    tensors, description = load_tensors(path)
    assert tensors.keys() == judge.net.state_dict().keys() and description.keys() == {"kind", "classifier"}
    assert Judge.load(path, CPU).extractor is None


@pytest.mark.parametrize(
    "description",
    [None, {}, {"name": "own"}, {"name": "torchvision:vgg19"}, {"name": "torchvision:no_such"}, {"name": 7}],
)
def test_an_extractor_that_does_not_fit_its_tensors_is_refused(judge, tmp_path, description):
    path = tmp_path / "judge.safetensors"
    judge.save(path)
    tensors, whole = load_tensors(path)
    save_tensors(path, tensors, whole | {"extractor": description})
    with pytest.raises(ValueError, match=r"judge\.safetensors: weights and description do not fit together") as refusal:
        Judge.load(path, CPU)
    assert "\n" not in str(refusal.value)


def test_an_extractor_of_other_images_is_refused(judge, tmp_path):
    if isinstance(judge.extractor.described, Pretrained):
        pytest.skip("it takes images of any size")
    path = tmp_path / "judge.safetensors"
    grey = fitted_extractor("fixed", FilterBank(), photographs(60, channels=1), CPU)
    replace(judge, extractor=grey).save(path)
    with pytest.raises(ValueError, match="weights and description do not fit together"):
        Judge.load(path, CPU)


# torchvision


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pretrained_network_sees_images_as_it_expects_them(weights, channels):
    """Against torchvision's own network without its last layer, after torchvision's own resizing and scaling."""
    described = describe_by(f"torchvision:{NETWORK}", weights).eval()
    net = torchvision.models.get_model(NETWORK, weights=None)
    net.load_state_dict(described.net.state_dict(), strict=False)
    net.fc = torch.nn.Identity()
    images = photographs(3, channels=channels)
    resized = torchvision.transforms.functional.resize(images.expand(-1, 3, -1, -1).float() / 255, [224, 224])
    expected = torchvision.transforms.functional.normalize(resized, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        torch.testing.assert_close(described(to_float(images)), net.eval()(expected), atol=1e-4, rtol=1e-4)


def test_its_features_are_few_enough_for_an_fid(weights):
    described = describe_by(f"torchvision:{NETWORK}", weights)
    images = photographs(140)
    extractor = fitted_extractor(f"torchvision:{NETWORK}", described, images, CPU)
    whole = described(to_float(images)).double()
    few = extractor(to_float(images)).double()
    assert whole.shape == (140, 1024) and few.shape == (140, 128)
    kept = few.var(0).sum() / whole.var(0).sum()
    assert 0.9 < kept <= 1.001
    assert NETWORK in extractor.words


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("resnet50", r"judge.weights: '.*' has no resnet50.safetensors \(judge.extractor: torchvision:resnet50 reads"),
        ("resnet18", "resnet18.safetensors: not the weights of torchvision's resnet18"),
        ("no_such", "judge.extractor: torchvision has no classifier 'no_such'"),
        ("squeezenet1_1", "judge.extractor: torchvision's squeezenet1_1 does not end in a linear layer"),
    ],
)
def test_a_network_without_its_weights_is_refused_in_a_line(weights, network, message):
    (weights / "squeezenet1_1.safetensors").write_bytes((weights / "resnet18.safetensors").read_bytes())
    with pytest.raises(ValueError, match=message) as refusal:
        describe_by(f"torchvision:{network}", weights)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_a_file_of_weights_is_checked_before_it_is_used(weights, tmp_path):
    path, whole = tmp_path / f"{NETWORK}.safetensors", (weights / f"{NETWORK}.safetensors").read_bytes()
    for content in (b"", whole[:1000], b"\x80\x04" + whole, (2**62).to_bytes(8, "little") + whole[8:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"not a \.safetensors file, or damaged"):
            describe_by(f"torchvision:{NETWORK}", tmp_path)
    tensors = describe_by(f"torchvision:{NETWORK}", weights).net.state_dict()
    save_file(tensors | {"conv1.0.weight": torch.full((24, 3, 3, 3), math.nan)}, path)
    with pytest.raises(ValueError, match="NaN or infinity in 'conv1.0.weight'"):
        describe_by(f"torchvision:{NETWORK}", tmp_path)


def test_nothing_is_downloaded(weights, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert isinstance(describe_by(f"torchvision:{NETWORK}", weights), Pretrained)


def test_own_features_need_nothing_beside_the_judge(tmp_path):
    assert describe_by("own", tmp_path) is None and isinstance(describe_by("fixed", tmp_path), FilterBank)


# the stage


def trained(folder: Path, changes: list[str]) -> None:
    """Stage `judge` on 60 random images of two classes."""
    split = Dataset(photographs(60), torch.arange(60) % 2, ("one", "two"))
    for name in ("train", "test"):
        save_split(folder / f"data/{name}.safetensors", split, {"dataset": "folder"})
    params = Params.load(ROOT).changed(["judge.steps=2", "judge.batch_size=8", "precision=fp32", *changes])
    judge_stage.main(params, data=folder / "data", models=folder / "models", results=folder / "results")


@pytest.mark.parametrize("extractor", ["own", "fixed", f"torchvision:{NETWORK}"])
def test_the_stage_stores_the_extractor_with_the_judge(tmp_path, monkeypatch, weights, extractor):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    trained(tmp_path, [f"judge.extractor={extractor}", f"judge.weights={weights}", "judge.augment=true"])
    judge = Judge.load(tmp_path / "models/judge.safetensors", CPU)
    words = {"own": "penultimate features of the judge", "fixed": "responses of fixed filters, whitened"}
    assert judge.features_in_words == words.get(extractor, f"penultimate features of torchvision's {NETWORK}, reduced")
    assert Judge.load(tmp_path / "models/noisy_judge.safetensors", CPU, NOISY).extractor is None


def test_missing_weights_stop_the_stage_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="judge.weights: '.*nowhere' has no resnet18.safetensors"):
        trained(tmp_path, ["judge.extractor=torchvision:resnet18", "judge.weights=nowhere"])
    assert not (tmp_path / "results").exists() and not (tmp_path / "checkpoints").exists()
