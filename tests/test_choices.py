"""The names of all choices are those of the tables that implement them."""

from pathlib import Path

import pytest
import torch

from diffusion import choices, loss
from diffusion.latents.pretrained import LANGUAGE_MODELS
from diffusion.nets.table import NETS
from diffusion.quality.extractor import EXTRACTORS
from diffusion.runtime import pick_device, pick_precision
from diffusion.samplers.table import SAMPLERS
from diffusion.schedule import SCHEDULES, SPACINGS
from diffusion.sources.splits import load_splits
from diffusion.sources.table import DATASETS
from diffusion.target import TARGETS
from diffusion.training.optimiser import DECAYS
from stages.shared.loggers import LOGGERS

TABLES = {
    "SCHEDULES": SCHEDULES,
    "SAMPLERS": SAMPLERS,
    "NETS": NETS,
    "TARGETS": TARGETS,
    "WEIGHTINGS": loss.WEIGHTINGS,
    "TRAINING_TIMES": loss.TIME_SHARES,
    "SPACINGS": SPACINGS,
    "DECAYS": DECAYS,
    "DATA_SETS": DATASETS,
    "EXTRACTORS": EXTRACTORS,
    "LOGGERS": LOGGERS,
}


@pytest.mark.parametrize("name", TABLES)
def test_the_names_are_those_of_the_table(name):
    assert set(getattr(choices, name)) == set(TABLES[name])


def test_schedules_without_signal_are_those_that_end_in_noise_alone():
    ends = {name for name, schedule in SCHEDULES.items() if schedule(50).alpha_bar[-1] == 0}
    assert set(choices.WITHOUT_SIGNAL) == ends


def test_text_encoders_are_the_own_one_and_the_language_models():
    assert set(choices.TEXT_ENCODERS) == {"own", *LANGUAGE_MODELS}


def test_solvers_are_samplers_with_a_timestep_spacing():
    assert not any(SAMPLERS[name].takes_all_steps for name in choices.SOLVERS)


def test_devices_and_precisions_are_known_to_the_runtime():
    for name in choices.DEVICES:
        try:
            assert pick_device(name).type in choices.DEVICES
        except ValueError as error:  # a device that this machine lacks
            assert f"device: {name!r} is not available" in str(error)
    cpu = torch.device("cpu")
    assert [pick_precision(name, cpu) for name in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert set(choices.PRECISIONS) == {"auto", "fp32", "bf16"} and pick_precision("auto", cpu) in choices.PRECISIONS


@pytest.mark.parametrize("name", ["mnist5k", "digits"])  # the others are read from files
def test_images_have_the_size_and_channels_that_are_said(name):
    known = choices.DATA_SETS[name]
    train = load_splits(name, Path("unused"), torch.Generator().manual_seed(0), train_limit=20).train
    assert train.shape == (known.channels, known.image_size, known.image_size)


@pytest.mark.parametrize("table", ["SCHEDULES", "SAMPLERS"])
def test_no_two_choices_look_alike(table):
    shown = getattr(choices, table).values()
    assert len({one.label for one in shown}) == len({one.colour for one in shown}) == len(shown)
