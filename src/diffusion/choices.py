"""What can be chosen by name, and how the pages show each choice.

The module imports neither torch nor the rest of the library, so params and the report can read it. Every table here has
the names of the table in the library that implements them; a test compares the two. A colour belongs to a name and not
to a row of a picture, so that DDPM looks the same everywhere. The colours are those of Okabe and Ito (2008), which
colour-blind readers can tell apart.
"""

from typing import NamedTuple


class Choice(NamedTuple):
    """The label of a choice in pictures and tables, and its colour in pictures."""

    label: str
    colour: str


class DataSet(NamedTuple):
    """What is known of a data set before it is read; None where the user's params decide it."""

    image_size: int | None
    channels: int | None
    noun: str  # for one of its images in the report


SCHEDULES = {
    "linear": Choice("linear", "#0072B2"),
    "linear_unscaled": Choice("linear, unscaled", "#56B4E9"),
    "cosine": Choice("cosine", "#D55E00"),
    "sigmoid": Choice("sigmoid", "#009E73"),
    "linear_zero_snr": Choice("linear, zero SNR", "#CC79A7"),
}

SAMPLERS = {
    "ddpm": Choice("DDPM", "#000000"),
    "ddim": Choice("DDIM", "#0072B2"),
    "heun": Choice("Heun", "#E69F00"),
    "dpmpp_2m": Choice("DPM-Solver++(2M)", "#D55E00"),
    "sde_dpmpp_2m": Choice("SDE-DPM-Solver++(2M)", "#CC79A7"),
    "unipc": Choice("UniPC", "#009E73"),
    "euler_maruyama": Choice("Euler–Maruyama", "#7B3F00"),
    "predictor_corrector": Choice("predictor–corrector", "#56B4E9"),
}
SOLVERS = ("heun", "dpmpp_2m", "sde_dpmpp_2m", "unipc")  # samplers of second order, which are compared with DDIM

TARGETS = {"eps": "ε", "x0": "x₀", "v": "v"}  # what the network predicts, and its symbol
WEIGHTINGS = ("none", "min_snr")  # of the loss
TRAINING_TIMES = ("uniform", "cosine", "focused")  # distributions of t in training
SPACINGS = ("trailing", "log_snr", "karras")  # of the timesteps of a sampler
DECAYS = ("constant", "cosine", "late")  # of the learning rate
GUIDANCE = {"classifier_free": "classifier-free guidance", "autoguidance": "autoguidance"}

EXTRACTORS = ("own", "fixed")  # of features of images, besides torchvision's
TEXT_ENCODERS = ("own", "clip", "pretrained")

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")

DATA_SETS = {
    "mnist5k": DataSet(28, 1, "digit"),
    "mnist": DataSet(28, 1, "digit"),
    "fashion_mnist": DataSet(28, 1, "garment"),
    "kmnist": DataSet(28, 1, "character"),
    "emnist_letters": DataSet(28, 1, "letter"),
    "cifar10": DataSet(32, 3, "photograph"),
    "svhn": DataSet(32, 3, "digit"),
    "digits": DataSet(8, 1, "digit"),
    "folder": DataSet(None, None, "image"),
}
