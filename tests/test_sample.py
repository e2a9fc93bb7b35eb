"""The command for people: files that it writes, images that do not depend on the batch, errors of one line."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from test_latent import described

from diffusion import sample
from diffusion.denoiser import save_denoiser
from diffusion.generation import ImageModel
from diffusion.latents.model import Words, save_latent
from diffusion.nets.unet import UNet
from diffusion.sample_options import LABEL_MODEL, PROMPT_MODEL, parser
from diffusion.samplers import film
from diffusion.samplers.film import filmed
from diffusion.samplers.step import Step

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """With a bad version beside it."""
    folder = tmp_path_factory.mktemp("model")
    small_model(folder / "early.safetensors", image_channels=1, seed=1)
    return small_model(folder / "grey.safetensors", image_channels=1)


def small_model(path, image_channels, class_names=tuple("abcd"), seed=0):
    torch.manual_seed(seed)
    net_arguments = {
        "image_size": 8,
        "image_channels": image_channels,
        "num_classes": 4,
        "patch": 1,
        "channels": [8, 16],
        "blocks": 1,
        "attention_heads": 0,
        "dropout": 0.0,
    }
    net = UNet(**net_arguments)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):  # the last of every block starts at zero
            torch.nn.init.normal_(layer.weight, std=0.1)
    description = {"net": net_arguments, "schedule": "linear", "timesteps": 30, "target": "v"}
    save_denoiser(path, net.state_dict(), description | {"class_names": list(class_names)})
    return path


def run(model, *arguments):
    sample.main(parser().parse_args(["--model", str(model), *map(str, arguments)]))


def test_arrays_of_grey_and_colour_images(model, tmp_path):
    run(model, "--labels", "0-3", "--num", 6, "--steps", 3, "--out", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["images"].shape == (6, 8, 8) and arrays["images"].dtype == np.uint8
        assert arrays["labels"].tolist() == [0, 1, 2, 3, 0, 1]
    colour = small_model(tmp_path / "colour.safetensors", image_channels=3)
    run(colour, "--labels", "1", "--num", 2, "--steps", 3, "--out", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["images"].shape == (2, 8, 8, 3)


def test_a_sheet_is_a_picture(model, tmp_path):
    run(model, "--labels", "0-3", "--num", 8, "--steps", 2, "--out", tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > picture.height > 16


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_holds_every_image_by_label_and_index(model, tmp_path, there):
    """Pixel for pixel those of the arrays. A folder that is there may have any name."""
    folder = tmp_path / ("no film.webp" if there else "images")
    if there:
        folder.mkdir()
    for out in (folder, tmp_path / "x.npz"):
        run(model, "--labels", "1-3", "--num", 5, "--steps", 2, "--out", out)
    names = ["1-00000.png", "1-00003.png", "2-00001.png", "2-00004.png", "3-00002.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        for name in names:
            with Image.open(folder / name) as picture:
                assert (np.asarray(picture) == arrays["images"][int(name[2:7])]).all()


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize("sampler", ["ddpm", "heun"])
def test_a_film_goes_from_noise_to_the_images_of_the_sheet(model, tmp_path, monkeypatch, suffix, sampler):
    monkeypatch.setattr(film, "FRAMES", 8)
    for out in (tmp_path / f"x{suffix}", tmp_path / "x.npz"):
        run(model, "--num", 6, "--batch-size", 4, "--sampler", sampler, "--out", out)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        *_, last = arrays["images"]  # in the second row of four columns, the second image
    with Image.open(tmp_path / f"x{suffix}") as picture:
        assert 5 < picture.n_frames <= 9  # equal ones that follow each other are one
        assert picture.info["loop"] == 0
        frames = [np.asarray(frame.convert("L"), dtype=int)[::2, ::2] for frame in ImageSequence.Iterator(picture)]
    tiles = [frame[10:18, 10:18] for frame in frames]  # of 8x8 pixels, with a pixel between and around them
    assert np.abs(tiles[-1] - last).mean() < 4 < np.abs(tiles[0] - last).mean()  # WebP is lossy
    assert tiles[0].std() > 50


def test_frames_are_what_the_sampler_passes_through():
    steps = [Step(6 - k, torch.full((2, 1), float(6 - k)), torch.zeros(2, 1)) for k in range(7)]

    def walk(denoise, schedule, normals):
        assert next(normals) is start
        assert next(normals) is fresh
        yield from steps

    start, fresh = torch.full((2, 1), 9.0), torch.zeros(2, 1)
    (step,) = filmed(walk, 7)(None, None, iter([start, fresh]))
    assert step.x_t.tolist() == [[[9.0], *([float(6 - k)] for k in range(7))]] * 2
    assert step.t == 0


def test_all_classes_by_default_and_others_by_name(model, tmp_path):
    for asked, labels in (([], [0, 1, 2, 3, 0]), (["--labels", "d", "a"], [3, 0, 3, 0, 3])):
        run(model, *asked, "--num", 5, "--steps", 2, "--out", tmp_path / "x.npz")
        with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
            assert arrays["labels"].tolist() == labels


def helped(capsys, *arguments):
    """The commands among the examples of --help, in words."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([*map(str, arguments), "--help"])
    assert not caught.value.code
    examples = capsys.readouterr().out.partition("examples:")[2].replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in examples.splitlines() if "diffusion-sample " in line]


def test_help_suggests_what_the_models_at_hand_know(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ["3", "7"] in [command[1:3] for command in helped(capsys)]  # without a model, of the default data
    (tmp_path / "models").mkdir()
    shutil.copy(model, LABEL_MODEL)
    shutil.copy(model.with_name("early.safetensors"), "models")
    description, denoiser, autoencoder = described()
    description |= {"class_names": ["3", "zero"]}
    save_latent(PROMPT_MODEL, denoiser.state_dict(), autoencoder, description)
    commands = helped(capsys)
    assert ["a", "d"] in [command[1:3] for command in commands]
    assert "a thin three" in [command[1] for command in commands]
    for command in commands:
        sample.main(parser().parse_args([*command, "--num", "2", "--steps", "2"]))
    other = small_model(
        tmp_path / "other.safetensors", image_channels=1, class_names=["Ankle boot", "b", "c", "T-shirt"]
    )
    assert ["Ankle boot", "T-shirt"] in [command[1:3] for command in helped(capsys, "--model", other)]


SHORT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: not enough memory: you tried to"),
]


@pytest.mark.parametrize("error", SHORT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_names_what_decides_it(model, tmp_path, monkeypatch, error):
    def images(*_):
        raise error

    monkeypatch.setattr(ImageModel, "images", images)
    with pytest.raises(MemoryError, match="^sampling: out of memory .*--batch-size 100, --num 4, the model.$"):
        run(model, "--num", 4, "--out", tmp_path / "x.png")


def test_other_errors_are_no_lack_of_memory(model, tmp_path, monkeypatch):
    def images(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(ImageModel, "images", images)
    with pytest.raises(RuntimeError, match="shapes"):
        run(model, "--num", 4, "--out", tmp_path / "x.png")


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
def test_the_same_seed_gives_the_same_images_at_any_batch_size(model, tmp_path, sampler):
    """Random draws are equal to the bit; convolutions of another batch size differ in the last ones."""
    images = []
    for batch_size, number in ((7, 7), (3, 7), (2, 9)):
        options = ("--labels", "0-3", "--sampler", sampler, "--guidance", 2, "--seed", 5)
        out = tmp_path / f"{batch_size}.npz"
        run(model, *options, "--num", number, "--batch-size", batch_size, "--precision", "fp32", "--out", out)
        images.append(np.load(out)["images"][:7].astype(int))
    assert np.abs(images[0] - images[1]).max() <= 1 and np.abs(images[0] - images[2]).max() <= 1
    for other in (["--seed", 6], ["--guidance-interval", 100, 101], ["--guidance-rescale", 1]):
        run(model, *options, *other, "--num", 7, "--out", tmp_path / "other.npz")
        assert np.abs(np.load(tmp_path / "other.npz")["images"] - images[0]).max() > 1


def images_of(model, path, *arguments):
    run(model, "--num", 4, "--steps", 3, *arguments, "--out", path)
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["images"]


def test_autoguidance_leads_away_from_the_early_model_beside_the_model_or_from_another(model, tmp_path):
    early, path = model.with_name("early.safetensors"), tmp_path / "x.npz"
    plain, guided = (images_of(model, path, "--autoguidance", scale) for scale in ("1", "3"))
    assert (plain == images_of(model, path)).all() and (guided != plain).any()
    assert (images_of(model, path, "--autoguidance", 0) == images_of(early, path)).all()
    named = images_of(shutil.copy(model, tmp_path), path, "--autoguidance", 3, "--early", early)
    assert (named == guided).all() and (guided != images_of(model, path, "--guidance", 3)).any()
    interval = ("--guidance-interval", 20, 30)  # no timestep lies there
    assert (images_of(model, path, "--autoguidance", 3, *interval) == plain).all()


def test_an_early_model_that_is_missing_or_of_other_images_is_refused(model, tmp_path):
    alone, out = shutil.copy(model, tmp_path), tmp_path / "x.png"
    with pytest.raises(ValueError, match="early.safetensors: no such file .stage train writes it; --early names anoth"):
        run(alone, "--autoguidance", 2, "--out", out)
    colour = small_model(tmp_path / "early.safetensors", image_channels=3)
    with pytest.raises(ValueError, match="early.safetensors: made with image_channels 3, the model with 1"):
        run(alone, "--autoguidance", 2, "--out", out)
    with pytest.raises(ValueError, match="grey.safetensors: made with image_channels 1, the model with 3"):
        run(colour, "--autoguidance", 2, "--early", alone, "--out", out)


def test_how_a_prompt_is_read_is_told(tmp_path, monkeypatch, capsys):
    latent = tmp_path / "latent.safetensors"
    description, denoiser, autoencoder = described()
    save_latent(latent, denoiser.state_dict(), autoencoder, description)
    monkeypatch.setattr(Words, "understood", lambda self, text: text.replace("skinny", "thin"))
    run(latent, "--prompt", "a skinny three", "zero", "--num", 2, "--steps", 1, "--out", tmp_path / "x.npz")
    told = [line for line in capsys.readouterr().err.splitlines() if "--prompt" in line]
    assert told == ["--prompt: 'a skinny three' is read as 'a thin three'"]


def test_prompts_are_drawn_by_the_model_of_latents(model, tmp_path):
    latent = tmp_path / "latent.safetensors"
    description, denoiser, autoencoder = described()
    save_latent(latent, denoiser.state_dict(), autoencoder, description)
    options = ("--prompt", "a thin three", "zero", "--num", 5, "--guidance", 3, "--steps", 3)
    run(latent, *options, "--out", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["images"].shape == (5, 8, 8) and arrays["labels"].tolist() == [0, 1, 0, 1, 0]
    run(latent, *options, "--out", tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.height > picture.width > 16  # a column per prompt
    run(latent, "--prompt", "zero", "--num", 5, "--steps", 3, "--out", tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 4 * picture.height
    run(latent, *options, "--out", tmp_path / "x.webp")
    with Image.open(tmp_path / "x.webp") as picture:
        assert picture.n_frames > 1 and picture.height > picture.width > 16
    with pytest.raises(ValueError, match="--prompt: the word 'thinn' is not in the vocabulary .near it: thin"):
        run(latent, "--prompt", "a thinn three", "--out", tmp_path / "y.png")
    with pytest.raises(ValueError, match="--inpaint: not possible with --prompt"):
        run(latent, "--prompt", "zero", "--inpaint", "x.png", "--out", tmp_path / "y.png")
    for nothing in ("", " ", "!"):
        with pytest.raises(ValueError, match=f"--prompt: '{nothing}' is not possible .allowed: words"):
            run(latent, "--prompt", "zero", nothing, "--out", tmp_path / "y.png")
    with pytest.raises(ValueError, match="--autoguidance: not possible with --prompt .allowed: --guidance"):
        run(latent, "--prompt", "zero", "--autoguidance", 2, "--out", tmp_path / "y.png")
    with pytest.raises(ValueError, match="holds 'denoiser' .expected 'latent'"):
        run(model, "--prompt", "zero", "--out", tmp_path / "y.png")
    assert not (tmp_path / "y.png").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_inpainted_images_keep_what_is_given(channels, tmp_path):
    """The left half of an image of the model's size, or what a mask leaves black, to the bit."""
    image = np.random.default_rng(0).integers(0, 256, (8, 8, channels), dtype=np.uint8).squeeze()
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5] = 255
    for name, pixels in (("image", image), ("mask", mask)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    small = small_model(tmp_path / "m.safetensors", image_channels=channels)
    options = ("--inpaint", tmp_path / "image.png", "--num", 3, "--steps", 4, "--out", tmp_path / "x.npz")
    left = np.zeros((8, 8), bool)
    left[:, :4] = True
    for masked, kept in (([], left), (["--mask", tmp_path / "mask.png"], mask == 0)):
        run(small, *options, *masked)
        made = np.load(tmp_path / "x.npz")["images"]
        assert (made[:, kept] == image[kept]).all() and (made[:, ~kept] != image[~kept]).mean() > 0.9
        assert (made[0] != made[1]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inpaint", "missing.png"], "missing.png: a link or a folder .allowed: image files"),
        (["--mask", "missing.png"], "--mask: not possible without --inpaint"),
        (["--guidance-interval", "1", "-3"], "--guidance-interval: 1 -3 is not possible .*lower and a higher"),
        (["--guidance-interval", "-3", "1"], "--guidance-interval: not possible without --guidance"),
        (["--guidance-rescale", "0"], "--guidance-rescale: not possible without --guidance"),
        (["--early", "early.safetensors"], "--early: not possible without --autoguidance"),
        (["--guidance", "2", "--autoguidance", "2"], "--autoguidance: not allowed with argument --guidance"),
        (["--labels", "0-9"], "--labels: '0-9' .*0-3"),
        (["--labels", "cat"], "--labels: 'cat' is not possible .allowed: 0-3, .*names: 'a', 'b', 'c', 'd'"),
        (["--labels", "3-1"], "--labels: '3-1'"),
        (["--steps", 31], "--steps: 31 .*1 to 30"),
        (["--sampler", "ddpm", "--steps", 10], "--steps: 10 .*ddpm .*all 30"),
        (["--sampler", "dpmpp_2m", "--eta", 0.5], "--eta: 0.5 is not possible with dpmpp_2m .allowed: with ddim"),
        (["--out", "x.jpg"], "--out: 'x.jpg' .*npz, .png, .webp, .gif; a folder without one"),
        (["--num", 10**30], "--num: .*allowed: 1 to 1,000,000,000"),
        (["--out", "no/such/folder/x.png"], "--out: no/such/folder is not a folder"),
        (["--out", "no/such/folder/"], "--out: no/such is not a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(model, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        run(model, "--labels", "0-3", "--out", "x.png", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_overwritten_by_a_folder(model, tmp_path):
    (tmp_path / "images").touch()
    with pytest.raises(ValueError, match="--out: .*images is a file .allowed: a folder, or a name ending in .npz"):
        run(model, "--out", tmp_path / "images")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "missing.safetensors", "--out", "x.png"], "error: missing.safetensors: no such file"),
        (
            ["--model", "m", "--out", "x.png", "--guidance", "-1"],
            "error: --guidance: -1 is not possible (allowed: 0 or more)",
        ),
        (["--out", "x.png", "--num", "many"], "error: --num: many is not possible (allowed: 1 to 1,000,000,000)"),
        (["--out", "x.png", "--eta", "nan"], "error: --eta: nan is not possible (allowed: 0 to 1)"),
        (["--out", "x.png", "--sampler", "best"], "error: --sampler: invalid choice: 'best' (choose from "),
        (["--out", "x.png", "--nums", "3"], "error: unrecognized arguments: --nums 3"),
        (["--model", "m"], "error: the following arguments are required: --out"),
        (["--out", "x.png"], "error: models/denoiser.safetensors: no such file (stage train writes it"),
        (
            ["--prompt", "zero", "--out", "x.png"],
            "error: models/latent.safetensors: no such file (stage train_latent writes it",
        ),
        (
            ["--prompt", "zero", "--labels", "3", "--out", "x.png"],
            "error: --labels: not allowed with argument --prompt",
        ),
    ],
)
def test_the_shell_sees_one_line_and_no_traceback(arguments, message, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "diffusion.sample", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1 and done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_more_than_the_memory_is_told_in_one_line(model, tmp_path):
    """The labels of so many images would take 8 GB."""
    command = [sys.executable, "-m", "diffusion.sample", "--model", model, "--num", "1000000000", "--out", "x.png"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -v 7000000 && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "error: sampling: out of memory (what decides how much it takes: --batch-size 100, --num"
    )
