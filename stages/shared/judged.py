"""Open what stages that judge a model need: models, the judge and the real images, checked to belong together."""

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


def open_early(params: Params, early: Path, reference: Reference) -> Denoiser:
    """The denoiser in `early`, the bad version of the model in autoguidance.

    Raises ValueError for a file that is missing, damaged or made for other images.
    """
    denoiser, description = load_denoiser(early, *machine_of(params))
    refuse_other_images(early, description, reference.train.shape, reference.train.num_classes)
    return denoiser
