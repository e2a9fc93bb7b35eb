"""Samplers on Gaussian data, whose exact denoiser is known, and against diffusers' schedulers."""

import itertools
import math

import pytest
import torch

from diffusion.denoiser import clipped, counted
from diffusion.generation import ImageModel, of_one_call
from diffusion.lanes import one_thread
from diffusion.randomness import image_noise
from diffusion.samplers.ddim import by_ddim, ddim
from diffusion.samplers.multistep import dpmpp_2m, sde_dpmpp_2m, unipc
from diffusion.samplers.ode import adaptive, heun
from diffusion.samplers.sde import CORRECTOR_SNR, euler_maruyama, langevin_step, predictor_corrector
from diffusion.samplers.step import Step, final
from diffusion.samplers.table import SAMPLERS, SamplerSetting, comparison
from diffusion.schedule import NoiseSchedule, noise_schedule, times_from
from diffusion.target import TARGETS

diffusers = pytest.importorskip("diffusers")
MEAN, STD = 0.4, 0.5
SOLVERS = ["heun", "dpmpp_2m", "sde_dpmpp_2m", "unipc"]


def gaussian_denoiser(schedule: NoiseSchedule):
    """E[x_0 | x_t] for x_0 ~ N(MEAN, STD^2)."""

    def denoise(x_t, t):
        signal, noise = map(float, schedule.coefficients(t))
        return MEAN + signal * STD**2 / (signal**2 * STD**2 + noise**2) * (x_t - signal * MEAN)

    return denoise


def normals(*shape, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(*shape, generator=draw, dtype=dtype)


@pytest.mark.parametrize(
    "setting", comparison(1000, [50, 100], [0.0, 0.5, 1.0], [100], SOLVERS, [20], "log_snr"), ids=str
)
@pytest.mark.parametrize("name", ["linear", "cosine", "linear_zero_snr", "flow"])
def test_every_sampler_reproduces_mean_and_standard_deviation(setting, name):
    """Variance beta after respacing would leave noise of std .36 in a 10-step image; the std must come out right."""
    schedule = noise_schedule(name, 1000)
    x = final(setting.start(gaussian_denoiser(schedule), schedule, normals(20_000)))
    start = 5 / math.sqrt(20_000)
    assert abs(x.mean() - MEAN) < start * STD + 0.02
    assert abs(x.std() - STD) < start * STD + 0.04


def moments_of_a_chain(schedule, times, corrected):
    """Mean and variance of the reverse SDE's steps on the Gaussian, which are affine: nothing is drawn."""
    mean, variance = 0.0, 1.0
    score_of = {
        t: (float(signal), float(signal**2 * STD**2 + noise**2))
        for t in times
        for signal, noise in [schedule.coefficients(t)]
    }
    for t, s in itertools.pairwise(times):
        signal, true = score_of[t]
        beta = 1 - float(schedule.alpha_bar_at(t) / schedule.alpha_bar_at(s))
        factor = 1 + beta / 2 - beta / true
        mean = factor * mean + beta / true * signal * MEAN
        variance = factor**2 * variance + (beta if s > 0 else 0)
        if s > 0 and corrected:
            signal, true = score_of[s]
            size = 2 * CORRECTOR_SNR**2 * float(1 - schedule.alpha_bar_at(s))
            mean += size / true * (signal * MEAN - mean)
            variance = (1 - size / true) ** 2 * variance + 2 * size
    return mean, math.sqrt(variance)


@pytest.mark.parametrize("sampler", [euler_maruyama, predictor_corrector])
@pytest.mark.parametrize("name", ["linear", "cosine", "linear_zero_snr", "flow"])
@pytest.mark.parametrize("num_steps", [50, 1000])
def test_the_reverse_sde_is_that_of_the_paper(sampler, name, num_steps):
    schedule = noise_schedule(name, 1000)
    times = times_from("trailing", schedule, num_steps)
    x = final(sampler(gaussian_denoiser(schedule), schedule, times, normals(20_000)))
    mean, std = moments_of_a_chain(schedule, times, corrected=sampler is predictor_corrector)
    assert abs(x.mean() - mean) < 4 * std / math.sqrt(20_000)
    assert abs(x.std() - std) < 4 * std / math.sqrt(40_000)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_reverse_sde_converges_to_mean_and_standard_deviation(corrected):
    """First order; only the small error of the corrector itself stays."""
    schedule = noise_schedule("linear", 1000)
    errors = []
    for num_steps in (100, 200, 1000):
        mean, std = moments_of_a_chain(schedule, times_from("trailing", schedule, num_steps), corrected)
        errors.append(max(abs(mean - MEAN), abs(std - STD)))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01


def test_langevin_steps_at_one_noise_level_end_in_its_distribution():
    """A step of size h on N(m, v) keeps variance v / (1 - h / 2v): a wrong sqrt(2 h) would show here."""
    sigma = 0.8
    variance, size = STD**2 + sigma**2, 2 * (CORRECTOR_SNR * sigma) ** 2
    noise, x = normals(50_000), torch.zeros(50_000, dtype=torch.float64)
    for _ in range(300):
        x = langevin_step(x, (MEAN - x) / variance, sigma, noise)
    assert abs(x.mean() - MEAN) < 0.02
    assert x.var().item() == pytest.approx(variance / (1 - size / (2 * variance)), rel=0.02)


@pytest.mark.parametrize("name", ["linear", "cosine", "linear_zero_snr", "flow"])
def test_the_adaptive_solver_agrees_with_many_steps_of_heun(name):
    schedule, calls = noise_schedule(name, 1000), []
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    found = final(adaptive(counted(gaussian_denoiser(schedule), calls), schedule, iter([start]), 1e-6))
    many = final(
        SamplerSetting("heun", 1000, spacing="log_snr").start(gaussian_denoiser(schedule), schedule, iter([start]))
    )
    assert (found - many).abs().max() < 2e-3 and len(calls) < 400
    assert found.dtype == start.dtype


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (heun, 2), (dpmpp_2m, 2), (unipc, 3)])
def test_order_of_convergence(sampler, order):
    """Halving the steps divides the error of the probability-flow ODE by 2^order; its solution is known here."""
    schedule = noise_schedule("linear", 1000)
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)

    def moments(t):
        signal, noise = map(float, schedule.coefficients(t))
        return signal * MEAN, math.sqrt(signal**2 * STD**2 + noise**2)

    (mean_start, std_start), (mean_end, std_end) = moments(800), moments(200)
    exact = mean_end + std_end / std_start * (start - mean_start)
    errors = []
    for number in (40, 80):
        times = torch.linspace(800, 200, number + 1, dtype=torch.float64).tolist()
        found = final(sampler(gaussian_denoiser(schedule), schedule, times, iter([start])))
        errors.append((found - exact).abs().max())
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.15


def test_ddim_with_eta_1_over_all_steps_is_the_ddpm_posterior():
    """Mean and variance of q(x_{t-1} | x_t, x_0), Ho et al. 2020, eq. 6 and 7, written out as in the paper."""
    schedule = noise_schedule("linear", 100)
    alpha_bar, beta = schedule.alpha_bar, schedule.beta
    noise = list(itertools.islice(normals(4, 3), 101))
    steps = list(SamplerSetting("ddpm", 100).start(gaussian_denoiser(schedule), schedule, iter(noise)))
    x = noise[0]
    for t, eps, step in zip(range(100, 0, -1), [*noise[1:100], torch.zeros(4, 3)], steps, strict=True):
        x_0 = gaussian_denoiser(schedule)(x, t)
        mean = alpha_bar[t - 1].sqrt() * beta[t] / (1 - alpha_bar[t]) * x_0
        mean = mean + (1 - beta[t]).sqrt() * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * x
        variance = beta[t] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
        x = mean + variance.sqrt() * eps
        assert step.t == t - 1 and (step.x_t - x).abs().max() < 1e-10


@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_ddim_on_the_flow_is_eulers_method(num_steps):
    """z = (1 - s) x_0 + s eps moves by (s' - s) u(z, s): the lesson's sampler and flow matching's are the same."""
    schedule, start = noise_schedule("flow", 1000), next(normals(64))

    def velocity(z, s):
        return (3 * z + 5 * s).sin() - z**2 / 4  # of no distribution: the two agree for any network

    def denoise(x_t, t):
        signal, noise = map(float, schedule.coefficients(t))
        z, s = x_t / (signal + noise), t / 1000
        return TARGETS["flow"].to_x_0(x_t, velocity(z, s), signal, noise)

    times = times_from("trailing", schedule, num_steps)
    z = start
    for t, s in itertools.pairwise(times):
        z = z + (s - t) / 1000 * velocity(z, t / 1000)
    assert (final(ddim(denoise, schedule, times, iter([start]))) - z).abs().max() < 1e-12


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [10, 50])
def test_ddim_agrees_with_diffusers(eta, num_steps):
    """One step at a time from the same x_t and noise, on spacings that divide T (others diffusers gets wrong)."""
    schedule = noise_schedule("linear", 1000)
    theirs = diffusers.DDIMScheduler(
        num_train_timesteps=1000, timestep_spacing="trailing", clip_sample=True, set_alpha_to_one=True
    )
    theirs.set_timesteps(num_steps)
    noise = list(itertools.islice(normals(2, 1, 4, 4, dtype=torch.float32), num_steps + 1))
    denoise = clipped(gaussian_denoiser(schedule))
    ours = ddim(denoise, schedule, times_from("trailing", schedule, num_steps), iter(noise), eta)
    x = noise[0]
    for t, eps, step in zip(theirs.timesteps.tolist(), noise[1:], ours, strict=True):
        signal, sigma = (float(c) for c in schedule.coefficients(t + 1))
        x_0 = gaussian_denoiser(schedule)(x, t + 1)
        predicted = (x - signal * x_0) / sigma
        out = theirs.step(predicted, t, x, eta=eta, use_clipped_model_output=True, variance_noise=eps)
        x = out.prev_sample
        assert (step.x_t - x).abs().max() < 2e-3


@pytest.mark.parametrize(
    ("sampler", "scheduler", "options"),
    [
        (dpmpp_2m, "DPMSolverMultistepScheduler", {}),
        (sde_dpmpp_2m, "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        (unipc, "UniPCMultistepScheduler", {"solver_order": 2, "solver_type": "bh2"}),
    ],
)
def test_multistep_solvers_agree_with_diffusers(sampler, scheduler, options):
    schedule = noise_schedule("linear", 1000)
    theirs = getattr(diffusers, scheduler)(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        timestep_spacing="trailing",
        final_sigmas_type="zero",
        prediction_type="sample",
        **options,
    )
    theirs.set_timesteps(20)
    x, *noise = itertools.islice(normals(2, 1, 4, 4), 21)
    ours = sampler(gaussian_denoiser(schedule), schedule, times_from("trailing", schedule, 20), iter([x, *noise]))
    for t, z, step in zip(theirs.timesteps, noise, ours, strict=True):
        drawn = {"variance_noise": z} if "algorithm_type" in options else {}
        x = theirs.step(gaussian_denoiser(schedule)(x, int(t) + 1), t, x, **drawn).prev_sample
        assert (step.x_t - x).abs().max() < 2e-4


def test_heun_is_that_of_the_paper():
    """Karras et al. 2022, algorithm 1 without churn, in its own variables x / signal and sigma."""
    schedule = noise_schedule("cosine", 1000)
    denoise, times = gaussian_denoiser(schedule), times_from("karras", schedule, 8)
    start = next(normals(50))
    signal, noise = schedule.coefficients(torch.tensor(times))
    sigma, x = noise / signal, start / signal[0]
    for i in range(8):
        d = (x - denoise(signal[i] * x, times[i])) / sigma[i]
        moved = x + (sigma[i + 1] - sigma[i]) * d
        if i < 7:
            d = (d + (moved - denoise(signal[i + 1] * moved, times[i + 1])) / sigma[i + 1]) / 2
            moved = x + (sigma[i + 1] - sigma[i]) * d
        x = moved
    assert (final(heun(denoise, schedule, times, iter([start]))) - x).abs().max() < 1e-9


@pytest.mark.parametrize(("name", "calls"), [("linear", 15), ("linear_zero_snr", 14)])
def test_heun_calls_twice_but_where_there_is_no_slope(name, calls):
    schedule, times = noise_schedule(name, 1000), []
    final(SamplerSetting("heun", 8).start(counted(gaussian_denoiser(schedule), times), schedule, normals(2)))
    assert len(times) == calls


@pytest.mark.parametrize(
    "setting", comparison(40, [1, 7, 40], [1.0], [13], ["dpmpp_2m", "sde_dpmpp_2m", "unipc"], [1, 9], "karras"), ids=str
)
def test_s_steps_are_s_calls_the_first_at_t(setting):
    schedule, times = noise_schedule("cosine", 40), []
    steps = list(setting.start(counted(gaussian_denoiser(schedule), times), schedule, normals(2)))
    assert len(times) == len(steps) == setting.steps and times[0] == 40
    assert steps[-1].t == 0 and torch.equal(steps[-1].x_t, steps[-1].x_0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_makes_the_evaluations_that_its_row_says(sampler):
    schedule, times = noise_schedule("linear", 100), []
    start = SamplerSetting(sampler, 8).start
    final(start(counted(gaussian_denoiser(schedule), times), schedule, normals(2)))
    assert len(times) == 7 * SAMPLERS[sampler].evaluations + 1


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 1.0), ("ddim", 0.0)])
def test_ddim_by_itself_is_that_of_the_table(sampler, eta):
    schedule = noise_schedule("linear", 100)
    walks = (SamplerSetting(sampler, 100).start, by_ddim(100, eta))
    first, second = (final(walk(gaussian_denoiser(schedule), schedule, normals(9))) for walk in walks)
    assert torch.equal(first, second)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_extreme_end_does_not_amplify_a_clipped_estimate(sampler):
    """Under cosine x_0 = (x - s eps) / sqrt(alpha_bar) is amplified 20,000 times: eps must follow the clipped x_0."""
    schedule = noise_schedule("cosine", 1000)

    def wild(x_t, t):
        signal, noise = map(float, schedule.coefficients(t))
        return (x_t - noise * 0.99 * x_t) / signal

    for step in SamplerSetting(sampler, 1000).start(clipped(wild), schedule, normals(64)):
        assert step.x_t.abs().max() < 8 and step.x_0.abs().max() <= 1


def test_samplers_hold_no_graph():
    weight = torch.ones(1, requires_grad=True)
    schedule = noise_schedule("linear", 100)
    steps = SamplerSetting("ddim", 3, 0.0).start(lambda x, t: weight * x, schedule, normals(2))
    assert not any(step.x_t.requires_grad for step in steps)
    assert torch.is_grad_enabled()


def test_images_do_not_depend_on_the_batch_that_they_are_drawn_in():
    """One generator for a whole batch gives other images at another batch size."""
    schedule = noise_schedule("linear", 50)

    def sample(labels, normals):
        def denoise(x_t, t):
            return gaussian_denoiser(schedule)(x_t, t) + 0.01 * labels[:, None, None, None]

        return final(SamplerSetting("ddpm", 50).start(denoise, schedule, normals))

    model = ImageModel((1, 4, 4), torch.device("cpu"), sample)
    whole, *others = (model.images(torch.arange(7), 5, "sample", batch_size) for batch_size in (7, 3, 1))
    assert whole.shape == (7, 1, 4, 4) and whole.dtype == torch.uint8
    assert all(torch.equal(other, whole) for other in others)


def test_noise_is_a_function_of_seed_purpose_and_index():
    def draws(seed, purpose, indices):
        return torch.stack(list(itertools.islice(image_noise(seed, purpose, indices, (1, 3, 3)), 40)))

    base = draws(0, "sample", [4, 9])
    assert torch.equal(base[:, 1], draws(0, "sample", [9])[:, 0])
    for other in (draws(1, "sample", [4, 9]), draws(0, "guidance", [4, 9]), draws(0, "sample", [5, 8])):
        assert not torch.equal(base, other)
    assert abs(base.mean()) < 0.2 and abs(base.std() - 1) < 0.1
    assert len({tuple(x.flatten().tolist()) for x in base}) == 40  # no block of draws repeats


def test_steps_are_what_they_say():
    schedule = noise_schedule("linear", 100)
    steps = list(ddim(gaussian_denoiser(schedule), schedule, [100, 40, 0], normals(2)))
    assert [type(step) for step in steps] == [Step, Step] and [step.t for step in steps] == [40, 0]


def test_unknown_sampler_and_too_many_steps_are_refused():
    schedule = noise_schedule("linear", 100)
    with pytest.raises(
        ValueError, match="sampler: 'euler' is unknown .*ddpm, ddim, heun, .*, euler_maruyama, predictor_corrector"
    ):
        SamplerSetting("euler", 10).start(gaussian_denoiser(schedule), schedule, normals(1))
    with pytest.raises(ValueError, match="steps: 101 "):
        SamplerSetting("ddim", 101).start(gaussian_denoiser(schedule), schedule, normals(1))


def test_images_by_one_call_have_the_latents_and_labels_of_their_number():
    asked, labels = [], torch.tensor([3, 1, 4, 1, 5])

    def latents(seed, purpose, indices, shape, device):
        asked.append((seed, purpose, list(indices), tuple(shape)))
        return iter([torch.tensor(indices, dtype=torch.float32)[:, None]])

    def model(z, label):
        return ((10 * z + label[:, None]) / 127.5 - 1)[:, :, None, None]

    with one_thread():  # lanes would ask in any order
        images = of_one_call(model, 1, torch.device("cpu")).images(labels, 7, "test", 2, normals=latents)
    assert asked == [(7, "test", indices, (1,)) for indices in ([0, 1], [2, 3], [4])]
    assert images.flatten().tolist() == [3, 11, 24, 31, 45]
