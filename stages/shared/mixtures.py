"""The part of stage `score` whose ground truth is known: denoisers of points, trained on mixtures of Gaussians."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from diffusion.denoiser import Conditional, Denoise, Denoiser
from diffusion.mixture import MIXTURES, GaussianMixture, exact_denoise, mixture_loss
from diffusion.nets.mlp import Mlp
from diffusion.randomness import generator_for, image_noise
from diffusion.samplers.table import SETTING_COLUMNS, SamplerSetting
from diffusion.schedule import NoiseSchedule
from diffusion.target import score_from_x_0
from diffusion.training.loop import Learner, training_step
from diffusion.training.optimiser import Ema, Optimiser
from stages.shared.outputs import write_table
from stages.shared.progress import run_training

WIDTH, LAYERS, BATCH_SIZE, LEARNING_RATE, EMA_DECAY = 128, 3, 256, 0.003, 0.99
LEVELS = (8, 6, 4, 2, 0, -2, -4, -6)  # log-SNR of the errors
FIELD_LEVELS = (5, 2, 0, -3)  # ... and of the pictures
BOX, GRID = 2.0, 15
ERROR_POINTS, SAMPLES, PATHS, PATH_POINTS, SHOWN_POINTS = 4000, 2000, 5, 50, 400
SETTINGS = (("heun", 50, "log_snr"), ("euler_maruyama", 500, "trailing"), ("predictor_corrector", 250, "trailing"))


def write_mixtures(results: Path, schedule: NoiseSchedule, device: torch.device, steps: int, seed: int) -> None:
    """Write the errors of learned scores, fields and trajectories, and samples by exact and by learned scores."""
    errors, fields, paths, points, samples = [], [], [], [], []
    for name, make in MIXTURES.items():
        mixture = make()
        denoiser = train_denoiser(name, mixture, schedule, device, steps, seed)
        errors += [[name, *row] for row in error_rows(mixture, denoiser, seed)]
        fields += [[name, *row] for row in field_rows(mixture, denoiser)]
        real = mixture.sample(SAMPLES, generator_for(seed, f"score/{name}"))
        points += [[name, "mixture", *point] for point in real[:SHOWN_POINTS].tolist()]
        for sampler, most, spacing in SETTINGS:
            setting = SamplerSetting(sampler, min(most, schedule.timesteps), spacing=spacing)
            learned, made = travel(learned_denoise(denoiser), schedule, setting, seed)
            _, exact = travel(exact_denoise(mixture, schedule), schedule, setting, seed)
            paths += [[name, setting.sampler, *row] for row in learned]
            points += [[name, setting.sampler, *point] for point in made[:SHOWN_POINTS].tolist()]
            for score, found in (("exact", exact), ("learned", made)):
                samples.append([name, score, *setting, *sample_figures(mixture, found, real)])
    write_table(results / "mixture_error.csv", ["mixture", "log_snr", "t", "n", "score", "error", "far_error"], errors)
    field = ["mixture", "log_snr", "t", "x", "y", "true_x", "true_y", "learned_x", "learned_y"]
    write_table(results / "mixture_field.csv", field, fields)
    write_table(results / "mixture_paths.csv", ["mixture", "sampler", "path", "t", "x", "y"], paths)
    write_table(results / "mixture_points.csv", ["mixture", "sampler", "x", "y"], points)
    figures = ["n", "log_density", "log_density_error", "real_log_density", "share_error", "real_share_error"]
    write_table(results / "mixture_samples.csv", ["mixture", "score", *SETTING_COLUMNS, *figures], samples)


def train_denoiser(
    name: str, mixture: GaussianMixture, schedule: NoiseSchedule, device: torch.device, steps: int, seed: int
) -> Denoiser:
    """A small denoiser of the mixture's points, in fp32, after `steps` training steps, with the averaged weights."""
    torch.manual_seed(seed)
    net = Mlp(mixture.mean.shape[1], WIDTH, LAYERS).to(device)
    loss = mixture_loss(Denoiser(net, schedule, "v"), mixture)
    ema, optimiser = Ema(net, EMA_DECAY), Optimiser(net.parameters(), LEARNING_RATE, steps, warmup_steps=20)
    learners = {"denoiser": Learner(net, loss, optimiser, ema)}
    nothing = torch.zeros(BATCH_SIZE, dtype=torch.int64)  # every batch is drawn afresh, and points have no labels
    update = training_step(learners, nothing, nothing, batch_size=BATCH_SIZE, seed=seed, purpose="mixture")
    run_training(f"mixture {name}", update, learners, steps, BATCH_SIZE, log_every=100)
    return Denoiser(ema.net, schedule, "v")


def learned_denoise(denoiser: Denoiser) -> Denoise:
    """The learned denoiser for any number of points on the CPU, as `exact_denoise` is."""

    def denoise(x_t: Tensor, t: Tensor | float) -> Tensor:
        label = torch.zeros(len(x_t), dtype=torch.int64, device=denoiser.device)
        return Conditional(denoiser, label)(x_t.to(denoiser.device), t).to(x_t.device)

    return denoise


@torch.no_grad()
def scores(mixture: GaussianMixture, denoiser: Denoiser, points: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """(true, learned) scores (N, D) of x_t at points (N, D)."""
    signal, noise = denoiser.schedule.coefficients(t)
    x_t = points.float().view(len(points), -1, 1, 1)
    learned = score_from_x_0(x_t, learned_denoise(denoiser)(x_t, t), signal, noise)
    return mixture.noised(signal, noise).score(points), learned.flatten(1).double()


def error_rows(mixture: GaussianMixture, denoiser: Denoiser, seed: int) -> Iterator[list[float]]:
    """For every noise level: root mean squares of the true score and of the learned score's error where the data are
    (x_t), and the error relative to the score over the whole box, where there may be no data."""
    schedule, axis = denoiser.schedule, torch.linspace(-BOX, BOX, 40, dtype=torch.float64)
    everywhere = torch.cartesian_prod(axis, axis)
    for log_snr in LEVELS:
        t = schedule.time_of_log_snr(log_snr).item()
        generator = generator_for(seed, "score/error", log_snr)
        points = mixture.noised(*schedule.coefficients(t)).sample(ERROR_POINTS, generator)
        (true, learned), (far, far_learned) = (scores(mixture, denoiser, x, t) for x in (points, everywhere))
        size, error = root_mean_square(true), root_mean_square(learned - true)
        yield [log_snr, t, ERROR_POINTS, size, error, root_mean_square(far_learned - far) / root_mean_square(far)]


def field_rows(mixture: GaussianMixture, denoiser: Denoiser) -> Iterator[list[float]]:
    """Both scores on a grid, at the noise levels of the pictures."""
    axis = torch.linspace(-BOX, BOX, GRID, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for log_snr in FIELD_LEVELS:
        t = denoiser.schedule.time_of_log_snr(log_snr).item()
        for point, true, learned in zip(grid, *scores(mixture, denoiser, grid, t), strict=True):
            yield [log_snr, t, *point.tolist(), *true.tolist(), *learned.tolist()]


def travel(
    denoise: Denoise, schedule: NoiseSchedule, setting: SamplerSetting, seed: int
) -> tuple[list[list[float]], Tensor]:
    """Sample: (trajectories of the first points as rows of path, t, x, y; the final positions (N, D) of all points)."""
    normals = image_noise(seed, "score/mixture", range(SAMPLES), (2, 1, 1))
    rows = []
    every = -(-setting.steps // PATH_POINTS)
    for number, step in enumerate(setting.start(denoise, schedule, normals), 1):
        if number % every == 0 or number == setting.steps:
            rows += [[path, step.t, *point] for path, point in enumerate(step.x_t[:PATHS].flatten(1).tolist())]
    return rows, step.x_t.flatten(1).double()


def sample_figures(mixture: GaussianMixture, points: Tensor, real: Tensor) -> list[float]:
    """n; the mean log-density of samples with its standard error, and that of real points; the largest error of a
    component's share, for samples and for as many real points."""
    log_density = mixture.log_density(points)

    def share_error(x: Tensor) -> float:
        found = mixture.log_components(x).argmax(1).bincount(minlength=len(mixture.weight)) / len(x)
        return (found - mixture.weight).abs().max().item()

    error = log_density.std().item() / len(points) ** 0.5
    figures = [log_density.mean().item(), error, mixture.log_density(real).mean().item()]
    return [len(points), *figures, share_error(points), share_error(real)]


def root_mean_square(vectors: Tensor) -> float:
    """The root mean square length of vectors (N, D)."""
    return vectors.square().sum(1).mean().sqrt().item()
