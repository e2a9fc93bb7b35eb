"""What a training shows while it runs."""

from collections.abc import Iterable, Iterator

from tqdm import tqdm

from diffusion.training.loop import Progress


def watched(steps: Iterable[Progress], name: str, num_steps: int, batch_size: int) -> Iterator[Progress]:
    """The same, under a progress bar with loss, images per second and time left."""
    with tqdm(total=num_steps * batch_size, desc=name, unit="img", unit_scale=True) as bar:
        for progress in steps:
            bar.set_postfix(loss=f"{progress.means['loss']:.4f}", refresh=False)
            bar.update(progress.step * batch_size - bar.n)
            yield progress
