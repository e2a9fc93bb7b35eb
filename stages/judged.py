"""What the stages that judge a model open first: the model, the judge and the real images, checked to fit together."""

import argparse

from diffusion.data import load_both
from diffusion.denoiser import Denoiser, load_denoiser, refuse_other_images
from diffusion.evaluation import Reference
from diffusion.judge import Judge
from stages.machine import machine_of
from stages.params import Params


def open_judged(params: Params, arguments: argparse.Namespace) -> tuple[Denoiser, Reference]:
    """The denoiser in --model, ready on its device, and the images in --data with the judge in --judge.

    Raises ValueError for files that are missing, damaged or do not belong together.
    """
    machine = machine_of(params)
    denoiser, description = load_denoiser(arguments.model, *machine)
    train, test = load_both(arguments.data)
    refuse_other_images(arguments.model, description, train.images.shape[1:], len(train.class_names))
    return denoiser, Reference(Judge.load(arguments.judge, machine.device), train, test, params.seed)
