"""Training: draws that do not depend on history, and a resume to the bit."""

import json
import math
import os
from pathlib import Path

import pytest
import torch

from diffusion.data import Dataset
from diffusion.denoiser import Denoiser
from diffusion.loss import denoising_loss
from diffusion.nets.unet import UNet
from diffusion.objective import Draws
from diffusion.randomness import generator_for
from diffusion.schedule import noise_schedule
from diffusion.tensors import load_tensors
from diffusion.training.batches import batch_indices
from diffusion.training.checkpoints import Checkpoints, fingerprint
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Diverged, Ema, Optimiser
from stages import gan, train, vae
from stages.params.params import AllParams
from stages.train import keeping_early, training_of

ROOT = Path(__file__).resolve().parents[1]

STEPS = 12


def small_training(steps=STEPS, learning_rate=1e-3, shards=2, dropout=0.0):
    """A whole training of a tiny U-Net: its step and its learners."""
    torch.manual_seed(0)
    net = UNet(8, 1, 4, 1, [8, 16], 1, 2, dropout).to(memory_format=torch.channels_last)
    ema = Ema(net, 0.9)
    optimiser = Optimiser(net.parameters(), learning_rate, steps, weight_decay=0.01, warmup_steps=3)
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (20, 1, 8, 8), generator=draw, dtype=torch.uint8)
    denoiser = Denoiser(net, noise_schedule("linear", 100), "v")
    loss = denoising_loss(denoiser, dropout=0.5, times="uniform", weighting="min_snr")
    learners = {"denoiser": Learner(net, loss, optimiser, ema)}
    labels = torch.arange(20) % 4
    update = training_step(learners, images, labels, batch_size=8, seed=0, purpose="train", shards=shards)
    return update, learners


def moments_of(learner):
    return list(learner.optimiser.state_dict()["moments"].values())


def tensors_of(learners):
    learner = learners["denoiser"]
    return [*learner.net.state_dict().values(), *learner.ema.state_dict().values(), *moments_of(learner)]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_n_steps_a_stop_and_n_steps_are_2n_steps_to_the_bit(tmp_path, dropout):
    """Weights alone are not enough: optimiser, EMA, learning rate, order of data and noise all have to come back."""
    update, whole = small_training(dropout=dropout)
    history = list(fit(update, state_of(whole), STEPS, log_every=2))

    update, stopped = small_training(dropout=dropout)
    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        for progress in fit(update, state_of(stopped), STEPS, 2, checkpoints):
            if progress.step == 6:
                raise InterruptedError
    update, resumed = small_training(dropout=dropout)
    with Checkpoints(tmp_path / "run", 0) as checkpoints:
        again = list(fit(update, state_of(resumed), STEPS, 2, checkpoints))

    assert again == history and [p.step for p in history] == [2, 4, 6, 8, 10, 12]  # the last checkpoint was of step 5
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(whole), tensors_of(resumed), strict=True))
    assert not (tmp_path / "run").exists()


def every_tensor(part):
    """All tensors of a nested state, in order."""
    if isinstance(part, torch.Tensor):
        return [part]
    return [tensor for value in part.values() for tensor in every_tensor(value)] if isinstance(part, dict) else []


@pytest.mark.parametrize("stage", [train, vae, gan])
def test_what_a_stage_trains_can_stop_and_go_on_to_the_bit(tmp_path, stage):
    """Its state has to be whole: a GAN's second network or optimiser, left out, would start anew."""
    section = stage.__name__.split(".")[-1]
    small = [f"{section}.channels=[8,16]"] if stage is not train else ["model.channels=[8,16]"]
    params = AllParams.load(ROOT).changed([*small, f"{section}.steps=6", f"{section}.batch_size=8"])
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (20, 1, 28, 28), generator=draw, dtype=torch.uint8)
    data, machine = Dataset(images, torch.arange(20) % 4, tuple("abcd")), (torch.device("cpu"), "fp32")

    update, whole = stage.training_of(params, data, *machine)
    history = list(fit(update, state_of(whole), 6, 1))
    update, stopped = stage.training_of(params, data, *machine)
    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        for progress in fit(update, state_of(stopped), 6, 1, checkpoints):
            if progress.step == 4:
                raise InterruptedError
    update, resumed = stage.training_of(params, data, *machine)
    with Checkpoints(tmp_path / "run", 0) as checkpoints:
        assert list(fit(update, state_of(resumed), 6, 1, checkpoints)) == history
    states = state_of(whole), state_of(resumed)
    pairs = [[every_tensor(dict(part.state_dict())) for part in state.values()] for state in states]
    assert all(torch.equal(a, b) for x, y in zip(*pairs, strict=True) for a, b in zip(x, y, strict=True))


def test_early_weights_are_those_of_the_average_at_that_step_and_part_of_the_state(tmp_path):
    """Also after a stop behind that step, and the training goes on as without them."""
    settings = AllParams.load(ROOT).changed(["train.early_share=0.25", f"train.steps={STEPS}"]).train
    settings = settings.model_copy(update={"ema_decay": 0.9})
    update, short = small_training()
    for step in range(3):
        update(step)
    expected = every_tensor(dict(short["denoiser"].ema.state_dict()))

    update, plain = small_training()
    list(fit(update, state_of(plain), STEPS, 2))

    def began():
        update, learners = small_training()
        update, early = keeping_early(update, learners["denoiser"].net, settings)
        return update, learners, early, {**state_of(learners), "early": early}

    update, _, _, state = began()
    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        for progress in fit(update, state, STEPS, 2, checkpoints):
            if progress.step == 6:
                raise InterruptedError
    update, resumed, early, state = began()
    with Checkpoints(tmp_path / "run", 0) as checkpoints:
        list(fit(update, state, STEPS, 2, checkpoints))
    found = every_tensor(dict(early.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(plain), tensors_of(resumed), strict=True))


def test_a_checkpoint_holds_tensors_and_json_alone(tmp_path):
    update, learners = small_training()
    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        for progress in fit(update, state_of(learners), STEPS, 2, checkpoints):
            if progress.step == 4:
                raise InterruptedError
    last, _ = checkpoints.newest_first()
    tensors, description = load_tensors(last)
    assert last.name.startswith("00000003.") and "log.sums.loss" in tensors and len(tensors) > 50
    assert "denoiser.net.stem.weight" in tensors and "denoiser.ema.stem.weight" in tensors
    json.dumps(description)


def test_a_fingerprint_tells_params_and_files_apart(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    names = {
        fingerprint({"steps": 1}, files=[tmp_path / "a"]),
        fingerprint({"steps": 2}, files=[tmp_path / "a"]),
        fingerprint({"steps": 1}, files=[tmp_path / "b"]),
    }
    assert len(names) == 3 and fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_a_checkpoint_is_due_at_any_step_and_a_report_knows_the_steps_before_it(tmp_path):
    """Reports far apart must not make the loss of work any larger."""
    update, whole = small_training()
    history = list(fit(update, state_of(whole), STEPS, log_every=STEPS))
    update, stopped = small_training()

    def update_or_stop(step):
        if step == 7:
            raise InterruptedError
        return update(step)

    with pytest.raises(InterruptedError), Checkpoints(tmp_path / "run", 0) as checkpoints:
        list(fit(update_or_stop, state_of(stopped), STEPS, STEPS, checkpoints))
    began = []
    update, resumed = small_training()
    with Checkpoints(tmp_path / "run", 0) as checkpoints:
        again = list(
            fit(lambda step: (began.append(step), update(step))[1], state_of(resumed), STEPS, STEPS, checkpoints)
        )
    assert began[0] == 7 and again == history
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(whole), tensors_of(resumed), strict=True))


def test_a_training_stops_behind_the_step_in_which_it_is_interrupted(tmp_path):
    update, learners = small_training()
    checkpoints = Checkpoints(tmp_path / "run", 1000)

    def update_or_interrupted(step):
        if step == 4:
            checkpoints.interrupted.set()
        return update(step)

    with pytest.raises(KeyboardInterrupt), checkpoints:
        list(fit(update_or_interrupted, state_of(learners), STEPS, STEPS, checkpoints))
    assert [path.name[:8] for path in checkpoints.newest_first()] == ["00000005"]


def test_a_learning_rate_far_too_high_is_stopped_and_named():
    update, learners = small_training(learning_rate=1e30)
    with pytest.raises(Diverged, match=r"training diverged: .* at step \d+ with learning rate \d\S+e\+\d+$"):
        list(fit(update, state_of(learners), STEPS, STEPS))
    assert all(tensor.isfinite().all() for tensor in tensors_of(learners))


def trained(threads, **settings):
    """The tensors and the losses of a whole training with so many threads of PyTorch's."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        update, learners = small_training(**settings)
        reports = list(fit(update, state_of(learners), settings.get("steps", STEPS), 1))
    finally:
        torch.set_num_threads(before)
    return tensors_of(learners), [means["loss"] for _, means in reports]


def test_the_bytes_of_a_training_do_not_depend_on_the_number_of_threads():
    (alone, losses), (together, same) = (trained(threads) for threads in (1, 2))
    assert losses == same and all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("shards", [2, 3, 8, 64])
def test_shards_are_one_batch_up_to_rounding(shards):
    """Over 200 steps, sizes that do not divide the batch included; a shard is never empty."""
    _, whole = trained(1, steps=200, shards=1)
    _, split = trained(1, steps=200, shards=shards)
    assert split == pytest.approx(whole, abs=1e-5)


class TimesInfinity(torch.autograd.Function):
    """Backward, a factor that is infinite; forward, nothing."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * math.inf


SPOILT = {
    "loss is nan": lambda loss: loss * math.nan,
    "loss is inf": lambda loss: loss + math.inf,
    "gradient norm is (inf|nan)": TimesInfinity.apply,
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_not_finite_stops_the_step_before_anything_takes_it_in(tmp_path, what):
    """In the fifth step of a report of six: neither weights, nor EMA, moments or the history may know of it."""
    update, learners = small_training()
    learner, before = learners["denoiser"], []
    optimiser = learner.optimiser

    def spoilt_in_step_5(x, condition, draws):
        loss, scalars = learner.loss(x, condition, draws)
        if draws.step < 4:
            return loss, scalars
        before[:] = [tensor.clone() for tensor in tensors_of(learners)]
        return SPOILT[what](loss), scalars

    learners["denoiser"] = learner._replace(loss=spoilt_in_step_5)
    with pytest.raises(Diverged, match=f"{what} at step 5 with"), Checkpoints(tmp_path / "run", 0) as checkpoints:
        list(fit(update, state_of(learners), STEPS, 6, checkpoints))
    assert all(torch.equal(a, b) for a, b in zip(before, tensors_of(learners), strict=True))
    assert optimiser.step == 4
    assert [path.name[:8] for path in checkpoints.newest_first()] == ["00000004", "00000003"]


@pytest.mark.parametrize("what", SPOILT)
@pytest.mark.parametrize("seconds", [0, 1000])
def test_a_device_that_is_not_waited_for_skips_all_steps_from_there_on(tmp_path, what, seconds):
    """As on a GPU: it is asked before the next report or checkpoint, and no checkpoint is written from then on."""
    update, learners = small_training()
    learner = learners["denoiser"]
    optimiser = learner.optimiser
    optimiser.waits = False
    good, steps = [], []

    def spoilt_in_step_5(x, condition, draws):
        loss, scalars = learner.loss(x, condition, draws)
        steps.append(draws.step)
        if draws.step == 4:
            good[:] = [tensor.clone() for tensor in (*learner.net.parameters(), *moments_of(learner))]
        return SPOILT[what](loss) if draws.step == 4 else loss, scalars

    learners["denoiser"] = learner._replace(loss=spoilt_in_step_5)
    with pytest.raises(Diverged, match=f"{what} at step 5 with"), Checkpoints(tmp_path / "run", seconds) as checkpoints:
        list(fit(update, state_of(learners), STEPS, 8, checkpoints))
    assert steps[-1] == (4 if seconds == 0 else 7)
    now = [*learner.net.parameters(), *moments_of(learner)]
    assert len(good) > 20 and all(torch.equal(a, b) for a, b in zip(good, now, strict=True))
    assert all(tensor.isfinite().all() for tensor in learner.ema.state_dict().values())
    assert [path.name[:8] for path in checkpoints.newest_first()] == ["00000004", "00000003"][
        : 2 if seconds == 0 else 0
    ]


def test_steps_without_waiting_are_the_same_to_the_bit():
    update, waited_for = small_training()
    list(fit(update, state_of(waited_for), STEPS, 4))
    update, learners = small_training()
    learners["denoiser"].optimiser.waits = False
    list(fit(update, state_of(learners), STEPS, 4))
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(waited_for), tensors_of(learners), strict=True))


def never_finite(loss):
    def spoilt(x, condition, draws):
        value, scalars = loss(x, condition, draws)
        return value * math.nan, scalars

    return spoilt


@pytest.mark.parametrize("spoilt", [0, 1])
def test_either_optimiser_of_a_gan_stops_it(spoilt):
    params = AllParams.load(ROOT).changed(["gan.channels=[8]", "gan.steps=6", "gan.batch_size=8"])
    images = torch.zeros(20, 1, 28, 28, dtype=torch.uint8)
    data = Dataset(images, torch.arange(20) % 4, tuple("abcd"))
    for waits, last in ((True, 0), (False, 2)):
        update, learners = gan.training_of(params, data, torch.device("cpu"), "fp32")
        state, optimisers = state_of(learners), [learner.optimiser for learner in learners.values()]
        assert len(optimisers) == 2
        for optimiser in optimisers:
            optimiser.waits = waits
        name = [*learners][spoilt]
        learners[name] = learners[name]._replace(loss=never_finite(learners[name].loss))
        steps = []
        with pytest.raises(Diverged, match="loss is nan at step 1 with"):
            list(fit(lambda step, update=update, steps=steps: (steps.append(step), update(step))[1], state, 6, 3))
        assert steps[-1] == last
        assert all(tensor.isfinite().all() for part in state.values() for tensor in every_tensor(part.state_dict()))


def test_whatever_else_is_reported_must_be_finite_too():
    with pytest.raises(Diverged, match="error is nan at step 2"):
        list(fit(lambda step: {"error": torch.tensor(math.nan if step else 1.0)}, {}, 4, 2))


def test_batches_are_epochs_without_repetition_and_need_no_history():
    batches = [batch_indices(10, 4, seed=3, purpose="train", step=step) for step in range(10)]
    stream = torch.cat(batches).tolist()
    for epoch in range(4):
        assert sorted(stream[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert stream[:10] != stream[10:20]
    assert torch.equal(batch_indices(10, 4, 3, "train", 7), batches[7])
    assert torch.cat([batch_indices(3, 7, 0, "train", s) for s in range(3)]).bincount().tolist() == [7, 7, 7]


def test_draws_follow_from_seed_purpose_step_and_stream_alone():
    """Draws of another stream, before or between, must not move those of this one."""
    cpu = torch.device("cpu")
    draws, others = Draws(0, "train", 3, cpu, 4), Draws(0, "train", 3, cpu, 4)
    first, second = draws.normal((2,), of="noise"), draws.uniform((), of="noise")
    again = others.normal((2,), of="noise")
    others.uniform((25,), of="times")
    assert torch.equal(first, again) and torch.equal(second, others.uniform((), of="noise"))
    expected = generator_for(0, "train/noise", 3)
    assert torch.equal(first, torch.randn(4, 2, generator=expected))
    for seed, purpose, step, stream in (
        (1, "train", 3, "noise"),
        (0, "vae", 3, "noise"),
        (0, "train", 4, "noise"),
        (0, "train", 3, "t"),
    ):
        assert not torch.equal(first, Draws(seed, purpose, step, cpu, 4).normal((2,), of=stream))


def test_learners_take_turns_on_one_batch_with_equal_draws():
    """The second sees what the first has become, as a GAN's generator does, and its rate is the one that is logged."""
    seen = []

    def learner(name, learning_rate):
        net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(net.weight)

        def loss(x, label, draws):
            seen.append((name, label.tolist(), draws.step, draws.uniform((), of="noise").tolist(), weight_of("first")))
            return (net.weight - 1).square().sum(), {name: net.weight.sum(), "loss": x.mean()}

        return Learner(net, loss, Optimiser(net.parameters(), learning_rate, 10), Ema(net, 0.0))

    learners = {"first": learner("first", 0.5), "second": learner("second", 0.25)}
    weight_of = lambda name: learners[name].net.weight.item()  # noqa: E731
    images = torch.full((6, 1, 1, 1), 255, dtype=torch.uint8)
    logged = training_step(learners, images, torch.arange(6), batch_size=4, seed=0, purpose="a", order="b")(2)
    (one, labels, step, noise, before), (other, *same, after) = seen
    assert (one, other, step, before) == ("first", "second", 2, 0) and same == [labels, 2, noise] and after > 0
    assert labels == batch_indices(6, 4, 0, "b", 2).tolist()
    assert noise == Draws(0, "a", 2, torch.device("cpu"), 4).uniform((), of="noise").tolist()
    assert logged["loss"] == 1 and logged["first"] == 0 and logged["learning_rate"] == 0.25
    assert not any(scalar.requires_grad for scalar in logged.values())
    assert {*state_of(learners)} == {f"{n}.{kind}" for n in learners for kind in ("net", "optimiser", "ema")}
    assert learners["first"].ema.net.weight.item() > 0


def test_ema_forgets_the_start_and_is_capped():
    """A fixed .9999 on a short run still holds the initial weights: it samples noise."""
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(net.weight, 0.0)
    ema = Ema(net, 0.9)
    torch.nn.init.constant_(net.weight, 1.0)
    for step in range(30):
        ema.update(net, step)
    assert 0.99 < ema.net.weight.item() <= 1
    decays = [1 - (1 + step) ** -0.75 for step in range(1000)]
    assert decays[0] == 0 and max(min(0.9, d) for d in decays) == 0.9


def test_the_learning_rate_warms_up_and_decays_to_zero():
    optimiser = Optimiser([torch.nn.Parameter(torch.zeros(1))], 1.0, 100, warmup_steps=10)
    rates = [optimiser.learning_rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(0.98, abs=0.01) and rates[100] == 0
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_a_late_decay_begins_after_four_fifths_of_the_steps():
    optimiser = Optimiser([torch.nn.Parameter(torch.zeros(1))], 0.1, 100, decay="late")
    rates = [optimiser.learning_rate_at(step) for step in (0, 50, 80, 90, 100)]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.0])


def test_gradients_are_clipped():
    weight = torch.nn.Parameter(torch.zeros(4))
    optimiser = Optimiser([weight], 1e-3, 10, max_grad_norm=0.5)
    loss = (weight * 100).sum()
    logged = optimiser.descend(loss, optimiser.gradient(loss))
    assert logged["grad_norm"] == pytest.approx(200) and optimiser.vector.grad.norm() == pytest.approx(0.5, rel=1e-4)


def test_compile_is_asked_for_by_its_param_alone_and_leaves_names_of_weights_as_they_are(monkeypatch):
    modes = []

    class Compiled(torch.nn.Module):
        def __init__(self, net, mode):
            super().__init__()
            self._orig_mod, self.null = net, net.null
            modes.append(mode)

        def forward(self, *inputs):
            return self._orig_mod(*inputs)

    monkeypatch.setattr(torch, "compile", Compiled)
    images = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8)
    data = Dataset(images, torch.arange(64) % 10, tuple("0123456789"))
    params = AllParams.load(ROOT).changed(["train.steps=2", "model.channels=[8,16]"])
    trained = []
    for compiled in (False, True):
        asked = params.changed([f"train.compile={str(compiled).lower()}"])
        update, learners = training_of(asked, data, torch.device("cpu"), "fp32")
        list(fit(update, state_of(learners), 2, 1))
        trained.append(learners["denoiser"].ema.state_dict())
    assert modes == ["reduce-overhead"] and list(trained[0]) == list(trained[1])
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


@pytest.mark.skipif("COMPILE" not in os.environ, reason="compiling takes two minutes; COMPILE=1 asks for it")
@pytest.mark.parametrize("shards", [1, 2])
def test_a_compiled_training_is_the_same_up_to_rounding(shards):
    images = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Dataset(images, torch.arange(64) % 10, tuple("0123456789"))
    changes = [f"shards={shards}", "model.channels=[8,16]", "train.steps=4", "train.batch_size=8"]
    params = AllParams.load(ROOT).changed(changes)
    from torch._dynamo.utils import counters  # takes a second

    counters.clear()
    histories = []
    for compiled in (False, True):
        assert not counters["frames"]
        asked = params.changed([f"train.compile={str(compiled).lower()}"])
        update, learners = training_of(asked, data, torch.device("cpu"), "fp32")
        histories.append([progress.means for progress in fit(update, state_of(learners), 4, 1)])
    assert counters["frames"]["ok"] > 0
    for eager, compiled in zip(*histories, strict=True):
        assert compiled == pytest.approx(eager, rel=1e-3)
