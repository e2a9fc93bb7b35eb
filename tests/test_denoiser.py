"""The denoiser around a network: guidance, clipping, counting, and its file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusion.denoiser import (
    Conditional,
    Denoiser,
    clipped,
    counted,
    guidance,
    load_denoiser,
    record_evaluations,
    refuse_other_model,
    save_denoiser,
)
from diffusion.nets.unet import UNet
from diffusion.schedule import noise_schedule
from diffusion.target import TARGETS

NULL = 3
NET = {
    "image_size": 8,
    "image_channels": 1,
    "num_classes": NULL,
    "patch": 1,
    "channels": [8, 16],
    "blocks": 1,
    "attention_heads": 2,
    "dropout": 0.0,
}


class LabelNet(torch.nn.Module):
    """A prediction that depends on image and label, and a count of calls."""

    calls, null = 0, NULL

    def forward(self, x, time, label):
        self.calls += 1
        return 0.1 * x + (1.0 + label)[:, None, None, None]


def label_denoiser(target="v"):
    return Denoiser(LabelNet(), noise_schedule("linear", 100), target)


@pytest.fixture
def x_t():
    return torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_guidance_on_x_0_is_guidance_on_the_prediction(target, scale, x_t):
    denoiser, label = label_denoiser(target), torch.tensor([0, 2])
    cond, uncond = (denoiser.predict(x_t, 50.0, y) for y in (label, torch.full_like(label, NULL)))
    signal, noise = (c.float() for c in denoiser.schedule.coefficients(50.0))
    expected = TARGETS[target].to_x_0(x_t, uncond + scale * (cond - uncond), signal, noise)
    found = guidance(scale)(denoiser, label)(x_t, 50.0)
    assert (found - expected).abs().max() < 1e-4


def test_guidance_one_is_conditional_zero_unconditional_and_neither_calls_twice(x_t):
    denoiser, label = label_denoiser(), torch.tensor([0, 2])
    assert torch.equal(guidance(1.0)(denoiser, label)(x_t, 9.0), Conditional(denoiser, label)(x_t, 9.0))
    null = torch.full_like(label, NULL)
    assert torch.equal(guidance(0.0)(denoiser, label)(x_t, 9.0), Conditional(denoiser, null)(x_t, 9.0))
    sizes = []
    denoiser.net.register_forward_hook(lambda net, inputs, output: sizes.append(len(inputs[0])))
    for scale in (0.0, 1.0, 3.0):
        guidance(scale)(denoiser, label)(x_t, 9.0)
    assert sizes == [2, 2, 4]  # one call each; both halves of a guided one in one batch


def test_guidance_stands_still_outside_of_its_interval(x_t):
    denoiser, label = label_denoiser(), torch.tensor([0, 2])
    here = float(denoiser.schedule.snr(50.0).log())
    sizes = []
    denoiser.net.register_forward_hook(lambda net, inputs, output: sizes.append(len(inputs[0])))
    inside, below, above = (
        guidance(3.0, interval=interval)(denoiser, label)(x_t, 50.0)
        for interval in ((here - 1, here + 1), (here + 1, here + 2), (here - 2, here - 1))
    )
    assert sizes == [4, 2, 2]
    assert torch.equal(inside, guidance(3.0)(denoiser, label)(x_t, 50.0))
    plain = Conditional(denoiser, label)(x_t, 50.0)
    assert torch.equal(below, plain) and torch.equal(above, plain)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rescale", [0.0, 0.4, 1.0])
def test_rescaled_guidance_has_the_spread_of_the_conditional_prediction(target, rescale, x_t):
    class Spread(torch.nn.Module):
        null = NULL

        def forward(self, x, time, label):
            return x * (2.0 + label)[:, None, None, None]  # the null label spreads most, so guidance shrinks

    denoiser, label = Denoiser(Spread(), noise_schedule("linear", 100), target), torch.tensor([0, 2])
    cond, uncond = (denoiser.predict(x_t, 50.0, y) for y in (label, torch.full_like(label, NULL)))
    plain = uncond + 1.5 * (cond - uncond)
    std = [x.flatten(1).std(dim=1).view(2, 1, 1, 1) for x in (plain, cond)]
    expected = denoiser.to_x_0(x_t, 50.0, plain * ((1 - rescale) + rescale * std[1] / std[0]))
    found = guidance(1.5, rescale=rescale)(denoiser, label)(x_t, 50.0)
    assert (found - expected).abs().max() < 1e-4


def test_rescaling_a_prediction_without_spread_leaves_it_finite(x_t):
    denoiser = Denoiser(torch.nn.Module(), noise_schedule("linear", 100), "v")
    denoiser.net.forward, denoiser.net.null = lambda x, time, label: torch.zeros_like(x), NULL
    assert guidance(3.0, rescale=0.7)(denoiser, torch.tensor([0, 2]))(x_t, 50.0).isfinite().all()


def bad_denoiser(target="v"):
    """Another network with the same meaning."""
    bad = label_denoiser(target)
    bad.net.forward = lambda x, time, label: 0.3 * x - (2.0 + 0.5 * label)[:, None, None, None]
    return bad


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 2.5])
def test_autoguidance_leads_away_from_what_the_bad_network_sees_under_the_same_condition(target, scale, x_t):
    """Affine in the prediction, so it is also affine in x_0 (Karras et al. 2024)."""
    good, bad, label = label_denoiser(target), bad_denoiser(target), torch.tensor([0, 2])
    x_0, bad_x_0 = good(x_t, 50.0, label), bad(x_t, 50.0, label)
    found = guidance(scale, bad)(good, label)(x_t, 50.0)
    assert (found - (scale * x_0 + (1 - scale) * bad_x_0)).abs().max() < 1e-4
    assert (found - guidance(scale)(good, label)(x_t, 50.0)).abs().max() > 0.1 or scale == 1


def test_autoguidance_evaluates_each_network_once_and_only_where_it_guides(x_t):
    good, bad, label = label_denoiser(), bad_denoiser(), torch.tensor([0, 2])
    with record_evaluations(good, bad) as both, record_evaluations(good) as of_good:
        for scale in (0.0, 1.0, 3.0):
            guidance(scale, bad)(good, label)(x_t, 9.0)
        guidance(3.0, bad, (20.0, 30.0))(good, label)(x_t, 9.0)
    assert both == [2] * 5 and of_good == [2] * 3


def test_guided_by_itself_a_denoiser_stays_as_it_is(x_t):
    denoiser, label = label_denoiser(), torch.tensor([0, 2])
    same = label_denoiser()
    plain = Conditional(denoiser, label)(x_t, 50.0)
    assert (guidance(3.0, same)(denoiser, label)(x_t, 50.0) - plain).abs().max() < 1e-5


def test_the_spread_of_autoguidance_can_be_rescaled(x_t):
    good, bad, label = label_denoiser("x0"), bad_denoiser("x0"), torch.tensor([0, 2])
    spread = [
        denoise(x_t, 50.0).std(dim=(1, 2, 3))
        for denoise in (
            Conditional(good, label),
            guidance(3.0, bad)(good, label),
            guidance(3.0, bad, rescale=1.0)(good, label),
        )
    ]
    assert (spread[1] - spread[0]).abs().min() > 0.01 and (spread[2] - spread[0]).abs().max() < 1e-5


def test_a_bad_version_of_another_model_is_refused():
    net = {key: NET[key] for key in ("image_size", "image_channels")}
    model = {"net": net, "schedule": "linear", "timesteps": 100, "target": "v", "class_names": ["a", "b"]}
    refuse_other_model(Path("early.safetensors"), model | {"net": net | {"channels": [8]}}, model)  # a smaller one
    for key, value in {"schedule": "cosine", "timesteps": 50, "target": "eps", "class_names": ["a"]}.items():
        with pytest.raises(ValueError, match=f"^early.safetensors: made with {key} .*{value}.*, the model with"):
            refuse_other_model(Path("early.safetensors"), model | {key: value}, model)
    with pytest.raises(ValueError, match="early.safetensors: made with image_size 9, the model with 8"):
        refuse_other_model(Path("early.safetensors"), model | {"net": net | {"image_size": 9}}, model)


def test_guidance_below_zero_is_refused(x_t):
    for scale in (-0.5, float("nan")):
        with pytest.raises(ValueError, match="guidance scale: .* 0 or more"):
            guidance(scale)(label_denoiser(), torch.tensor([0]))


def test_clipping_and_counting(x_t):
    times = []
    denoise = counted(clipped(lambda x, t: 3 * x), times)
    assert denoise(x_t, 7.0).abs().max() == 1 and times == [7.0]


def test_networks_see_the_same_times_whatever_t_is(x_t):
    seen = []

    class Watching(torch.nn.Module):
        def forward(self, x, time, label):
            seen.append(time.tolist())
            return x

    for timesteps in (50, 1000):
        Denoiser(Watching(), noise_schedule("linear", timesteps), "v")(x_t, timesteps / 2, torch.tensor([0, 0]))
    assert seen == [[500.0, 500.0]] * 2


def test_eps_without_signal_is_refused():
    with pytest.raises(ValueError, match="^target: 'eps' .*linear_zero_snr.*x0, v"):
        Denoiser(LabelNet(), noise_schedule("linear_zero_snr", 100), "eps")


def test_a_file_gives_the_same_denoiser_back(tmp_path, x_t):
    torch.manual_seed(0)
    net = UNet(**NET)
    torch.nn.init.normal_(net.head[-1].weight)
    description = {"net": NET, "schedule": "cosine", "timesteps": 100, "target": "v", "class_names": ["a", "b", "c"]}
    save_denoiser(tmp_path / "m.safetensors", net.state_dict(), description)
    loaded, found = load_denoiser(tmp_path / "m.safetensors", torch.device("cpu"), "fp32")
    assert found["class_names"] == ["a", "b", "c"] and loaded.schedule.name == "cosine"
    x, label = torch.randn(2, 1, 8, 8), torch.tensor([0, NULL])
    original = Denoiser(net.eval(), loaded.schedule, "v")
    assert (loaded(x, 30.0, label) - original(x, 30.0, label)).abs().max() < 1e-5


def test_bad_weights_files_are_one_clear_line(tmp_path):
    path, cpu = tmp_path / "m.safetensors", torch.device("cpu")
    for content in (None, b"", b"not safetensors", b"\x80\x04\x95pickle"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match="m.safetensors: "):
            load_denoiser(path, cpu, "fp32")
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="m.safetensors: not a .safetensors file of this project"):
        load_denoiser(path, cpu, "fp32")
    description = {"net": NET, "schedule": "cosine", "timesteps": 100, "target": "v", "class_names": []}
    save_denoiser(path, {"a": torch.zeros(1)}, description)
    with pytest.raises(ValueError, match="m.safetensors: weights and description do not fit"):
        load_denoiser(path, cpu, "fp32")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(ValueError, match="m.safetensors: "):
        load_denoiser(path, cpu, "fp32")
