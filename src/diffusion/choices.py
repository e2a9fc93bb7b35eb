"""What can be chosen by name, and how each choice is shown.

It imports nothing of ours and no torch, so that params accept these names and the report draws them as the library
knows them. A colour belongs to a name and not to a row of a picture: DDPM looks the same everywhere. Colours are those
of Okabe and Ito (2008), which stay apart for colour-blind readers.
"""

from typing import NamedTuple


class Shown(NamedTuple):
    """How a choice looks in pictures and tables."""

    label: str
    colour: str


class DataSet(NamedTuple):
    """What is known of a data set before it is read; None where the user's params say it."""

    image_size: int | None
    channels: int | None
    noun: str  # what one of its images shows


SCHEDULES = {
    "linear": Shown("linear", "#0072B2"),
    "linear_unscaled": Shown("linear, unscaled", "#56B4E9"),
    "cosine": Shown("cosine", "#D55E00"),
    "sigmoid": Shown("sigmoid", "#009E73"),
    "linear_zero_snr": Shown("linear, zero SNR", "#CC79A7"),
}

SAMPLERS = {
    "ddpm": Shown("DDPM", "#000000"),
    "ddim": Shown("DDIM", "#0072B2"),
    "heun": Shown("Heun", "#E69F00"),
    "dpmpp_2m": Shown("DPM-Solver++(2M)", "#D55E00"),
    "sde_dpmpp_2m": Shown("SDE-DPM-Solver++(2M)", "#CC79A7"),
    "unipc": Shown("UniPC", "#009E73"),
    "euler_maruyama": Shown("Euler–Maruyama", "#7B3F00"),
    "predictor_corrector": Shown("predictor–corrector", "#56B4E9"),
}
SOLVERS = ("heun", "dpmpp_2m", "sde_dpmpp_2m", "unipc")  # of second order: DDIM's rivals in the comparison

TARGETS = {"eps": "ε", "x0": "x₀", "v": "v"}  # what the network predicts, and its symbol
WEIGHTINGS = ("none", "min_snr")  # of the loss
TRAINING_TIMES = ("uniform", "cosine", "focused")  # how t is drawn in training
SPACINGS = ("trailing", "log_snr", "karras")  # of a sampler's timesteps
DECAYS = ("constant", "cosine", "late")  # of the learning rate

DATA_SETS = {
    "mnist5k": DataSet(28, 1, "digit"),
    "mnist": DataSet(28, 1, "digit"),
    "fashion_mnist": DataSet(28, 1, "garment"),
    "kmnist": DataSet(28, 1, "character"),
    "digits": DataSet(8, 1, "digit"),
    "folder": DataSet(None, None, "image"),
}
