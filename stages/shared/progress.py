"""What a training shows while it runs."""

from collections.abc import Iterable, Iterator, Mapping

from tqdm import tqdm

from diffusion.training.loop import Learner, Progress, Update, fit, state_of


def watched(steps: Iterable[Progress], name: str, num_steps: int, batch_size: int) -> Iterator[Progress]:
    """Yield what `fit` yields, under a progress bar with loss, images per second and remaining time."""
    with tqdm(total=num_steps * batch_size, desc=name, unit="img", unit_scale=True) as bar:
        for progress in steps:
            bar.set_postfix(loss=f"{progress.means['loss']:.4f}", refresh=False)
            bar.update(progress.step * batch_size - bar.n)
            yield progress


def run_training(
    name: str, update: Update, learners: Mapping[str, Learner], num_steps: int, batch_size: int, log_every: int
) -> None:
    """Run a training to its end, under a progress bar and without checkpoints."""
    for _ in watched(fit(update, state_of(learners), num_steps, log_every), name, num_steps, batch_size):
        pass
