"""Open what stages that judge a model need: the model, the judge and the real images, checked to belong together."""

from pathlib import Path

from diffusion.data import load_both
from diffusion.denoiser import Denoiser, load_denoiser, refuse_other_images
from diffusion.quality.evaluation import Reference
from diffusion.quality.judge import Judge
from stages.params.params import Params
from stages.shared.machine import machine_of


def open_judged(params: Params, data: Path, model: Path, judge: Path) -> tuple[Denoiser, Reference]:
    """The denoiser in `model`, ready on its device, and the images in `data` with the judge in `judge`.

    Raises ValueError for files that are missing, damaged or do not belong together.
    """
    machine = machine_of(params)
    denoiser, description = load_denoiser(model, *machine)
    train, test = load_both(data)
    refuse_other_images(model, description, train.shape, train.num_classes)
    return denoiser, Reference(Judge.load(judge, machine.device), train, test, params.seed)
