"""Stages on files that are missing, damaged or foreign: one line that names the file, no traceback, status 1."""

import builtins
import errno
import inspect
import io
import json
import os
import resource
import runpy
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from param_files import set_param, smoke_params, write_params
from pipeline import ROOT
from safetensors.torch import save_file
from test_dvc_yaml import STAGES

from diffusion import tensors
from diffusion.baselines.gan_nets import Generator
from diffusion.baselines.vae_net import Vae
from diffusion.data import Dataset, save_split
from diffusion.denoiser import save_denoiser
from diffusion.latents.autoencoder import save_autoencoder
from diffusion.latents.autoencoder_net import Autoencoder
from diffusion.latents.captions import Captions, Combination, Vocabulary, class_word
from diffusion.latents.model import save_latent, text_unet
from diffusion.latents.properties import KINDS
from diffusion.nets.classifier import Classifier
from diffusion.nets.lenet import LeNet
from diffusion.nets.unet import UNet
from diffusion.quality.judge import Judge
from diffusion.tensors import load_tensors, save_tensors
from stages.params.memory import KEYS, memory_keys
from stages.params.params import Params

SIZE, CHANNELS = 8, 1
DIGITS = tuple("0123456789")
TRAIN, TEST = "data/processed/train.safetensors", "data/processed/test.safetensors"
MODEL, EARLY = "models/denoiser.safetensors", "models/early.safetensors"
JUDGE, NOISY_JUDGE = "models/judges/judge.safetensors", "models/judges/noisy_judge.safetensors"
SECOND_JUDGE = "models/judges/second_judge.safetensors"
GO_BACK = "; to get the last results back: git restore reports '*dvc.lock' && dvc checkout --allow-missing"
COMMANDS = {name: stage["cmd"].split("python -m ")[1].split() for name, stage in STAGES.items()}
AUTOENCODER, GRADES = "models/autoencoder.safetensors", "data/captions/grades.safetensors"
LATENT = "models/latent.safetensors"
GAN, VAE = "models/gan.safetensors", "models/vae.safetensors"
READERS = {  # the stages that read a file
    TRAIN: [
        "judge",
        "train",
        "vae",
        "gan",
        "autoencoder",
        "captions",
        "train_latent",
        "evaluate",
        "guidance",
        "score",
        "compare",
    ],
    TEST: [
        "judge",
        "schedules",
        "autoencoder",
        "captions",
        "sample_latent",
        "evaluate",
        "guidance",
        "score",
        "compare",
    ],
    MODEL: ["evaluate", "benchmark", "guidance", "score", "compare"],
    EARLY: ["evaluate", "guidance"],
    GAN: ["compare"],
    VAE: ["compare"],
    JUDGE: ["evaluate", "guidance", "score", "sample_latent", "compare"],
    NOISY_JUDGE: ["schedules"],
    SECOND_JUDGE: ["evaluate", "guidance", "compare"],
    AUTOENCODER: ["train_latent"],
    GRADES: ["train_latent", "sample_latent"],
    LATENT: ["sample_latent"],
}


def images(number, size=SIZE, channels=CHANNELS, class_names=DIGITS):
    draw = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (number, channels, size, size), generator=draw, dtype=torch.uint8)
    return Dataset(pixels, torch.arange(number) % len(class_names), class_names)


def write_split(path, **other):
    save_split(path, images(100, **other), {"dataset": "digits"})


def write_model(path, image_size=SIZE, image_channels=CHANNELS, num_classes=10):
    arguments = {"image_size": image_size, "image_channels": image_channels, "num_classes": num_classes}
    arguments |= {"patch": 1, "channels": [8], "blocks": 1, "attention_heads": 0, "dropout": 0.0}
    description = {"net": arguments, "schedule": "linear", "timesteps": 50, "target": "v", "class_names": list(DIGITS)}
    save_denoiser(path, UNet(**arguments).state_dict(), description)


def write_captions(folder, num_classes=10, number=100):
    grades = torch.arange(3 * number).view(number, 3) % 3
    words = tuple(map(class_word, DIGITS[:num_classes]))
    bounds = torch.arange(2.0).expand(num_classes, 3, 2).contiguous()
    Captions(
        "strokes",
        words,
        (Combination(0, "thickness", 0),),
        bounds,
        grades,
        grades.clone(),
        (("a thin zero",),) * number,
    ).save(folder)


def write_latent(path, image_size=SIZE, class_names=DIGITS):
    arguments = {"image_size": image_size, "image_channels": CHANNELS, "latent_channels": 4, "channels": [8]}
    autoencoder = Autoencoder(**arguments)
    net = {"image_size": image_size // 2, "image_channels": 4, "num_classes": 0, "patch": 1, "channels": [8]}
    net |= {"blocks": 1, "attention_heads": 2, "dropout": 0.0}
    text = {"encoder": "own", "folder": "", "width": 8, "layers": 1, "heads": 2}
    words = Vocabulary.of(tuple(map(class_word, DIGITS)), KINDS["strokes"].properties).words
    description = {"net": net, "text": text, "vocabulary": words, "autoencoder": arguments, "target": "v"}
    description |= {"schedule": "linear", "timesteps": 50, "class_names": class_names}
    save_latent(path, text_unet(net, text, len(words)).state_dict(), autoencoder, description)


def write_autoencoder(path, image_size=SIZE, channels=CHANNELS):
    arguments = {"image_size": image_size, "image_channels": channels, "latent_channels": 4, "channels": [16]}
    save_autoencoder(path, Autoencoder(**arguments), arguments)


def write_opponent(path, image_size=SIZE, image_channels=CHANNELS, num_classes=10):
    """The GAN's generator or the VAE, by the name of the file."""
    arguments = {"image_size": image_size, "image_channels": image_channels, "num_classes": num_classes, "latent": 4}
    arguments |= {"patch": 1, "channels": [8], "blocks": 1}
    kind = path.stem
    net = Vae(**arguments, mixtures=2) if kind == "vae" else Generator(**arguments)
    extra = {"mixtures": 2} if kind == "vae" else {}
    save_tensors(path, net.state_dict(), {"kind": kind, "net": arguments | extra})


def write_judge(path, size=SIZE, channels=CHANNELS, num_classes=10, kind=None):
    kind = path.stem.replace("_", " ") if kind is None else kind
    options = {} if kind == "second judge" else {"knows_noise": kind == "noisy judge"}
    net = (LeNet if kind == "second judge" else Classifier)(size, channels, num_classes, **options)
    Judge(net, torch.device("cpu")).save(path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A folder in which every stage but the report could start."""
    folder = tmp_path_factory.mktemp("whole")
    write_params(folder, smoke_params())
    write_split(folder / TRAIN)
    write_split(folder / TEST)
    write_model(folder / MODEL)
    write_model(folder / EARLY)
    write_opponent(folder / GAN)
    write_opponent(folder / VAE)
    write_judge(folder / JUDGE)
    write_judge(folder / NOISY_JUDGE)
    write_judge(folder / SECOND_JUDGE)
    write_autoencoder(folder / AUTOENCODER)
    write_captions((folder / GRADES).parent)
    write_latent(folder / LATENT)
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A copy of it, as the current folder of a process that neither DVC nor the network helps."""
    shutil.copytree(whole, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path / "work"


def refusal(name, monkeypatch):
    """What the stage says when it refuses to run: its error is a user's to mend, else it would be raised here."""
    monkeypatch.setattr(sys, "argv", [*COMMANDS[name]])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
    line = caught.value.code
    assert isinstance(line, str) and "\n" not in line and line.startswith("error: ") and line.endswith(GO_BACK)
    return line


def rewritten(path, change):
    """Change the description in a file of ours."""
    tensors, description = load_tensors(path)
    save_tensors(path, tensors, change(description))


def without_a_tensor(path):
    tensors, description = load_tensors(path)
    tensors.popitem()
    save_tensors(path, tensors, description)


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "text": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n" * 20),
    "pickle": lambda path: torch.save({"a": torch.zeros(2)}, path),
    "safetensors of others": lambda path: save_file({"a": torch.zeros(2)}, path),
    "description is no JSON": lambda path: save_file({"a": torch.zeros(2)}, path, {"description": "{"}),
    "description is a list": lambda path: rewritten(path, lambda _: []),
    "description is empty": lambda path: rewritten(path, lambda _: {}),
    "a tensor less": without_a_tensor,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", READERS)
def test_a_damaged_file_is_refused_by_the_stages_that_read_it(folder, monkeypatch, file, damage):
    DAMAGE[damage](folder / file)
    for name in READERS[file]:
        assert file in refusal(name, monkeypatch)


FOREIGN = [
    # file, its readers, how it is written, what the line names
    (MODEL, ["evaluate", "guidance"], lambda path: write_model(path, image_size=16), "8x8"),
    (MODEL, ["evaluate", "guidance"], lambda path: write_model(path, image_channels=3), "8x8"),
    (MODEL, ["evaluate", "guidance"], lambda path: write_model(path, num_classes=4), "classes"),
    (MODEL, READERS[MODEL], write_judge, MODEL),
    (EARLY, READERS[EARLY], lambda path: write_model(path, image_size=16), "8x8"),
    (EARLY, READERS[EARLY], lambda path: write_model(path, num_classes=4), "classes"),
    (EARLY, READERS[EARLY], write_judge, EARLY),
    *((path, ["compare"], lambda path: write_opponent(path, image_size=16), "8x8") for path in (GAN, VAE)),
    *((path, ["compare"], lambda path: write_opponent(path, num_classes=4), "classes") for path in (GAN, VAE)),
    *((path, ["compare"], write_model, path) for path in (GAN, VAE)),
    (MODEL, READERS[MODEL], write_split, MODEL),
    (TRAIN, READERS[TRAIN], write_model, TRAIN),
    (JUDGE, READERS[JUDGE], write_model, JUDGE),
    (JUDGE, READERS[JUDGE], lambda path: write_judge(path, size=16), "judge"),
    (JUDGE, READERS[JUDGE], lambda path: write_judge(path, channels=3), "judge"),
    (JUDGE, READERS[JUDGE], lambda path: write_judge(path, num_classes=4), "judge"),
    (JUDGE, READERS[JUDGE], lambda path: write_judge(path, kind="noisy judge"), "judge"),
    (NOISY_JUDGE, READERS[NOISY_JUDGE], lambda path: write_judge(path, kind="judge"), "judge"),
    (SECOND_JUDGE, READERS[SECOND_JUDGE], lambda path: write_judge(path, kind="judge"), "judge"),
    (SECOND_JUDGE, READERS[SECOND_JUDGE], lambda path: write_judge(path, size=16), "judge"),
    (TEST, ["judge", "evaluate", "guidance"], lambda path: write_split(path, size=16), "test"),
    (TEST, ["judge", "evaluate", "guidance"], lambda path: write_split(path, channels=3), "test"),
    (TEST, ["judge", "evaluate", "guidance"], lambda path: write_split(path, class_names=tuple("abcd")), "test"),
    (AUTOENCODER, READERS[AUTOENCODER], write_model, AUTOENCODER),
    (AUTOENCODER, READERS[AUTOENCODER], lambda path: write_autoencoder(path, image_size=16), AUTOENCODER),
    (AUTOENCODER, READERS[AUTOENCODER], lambda path: write_autoencoder(path, channels=3), AUTOENCODER),
    (LATENT, READERS[LATENT], write_model, LATENT),
    (LATENT, READERS[LATENT], lambda path: write_latent(path, image_size=16), LATENT),
    (LATENT, READERS[LATENT], lambda path: write_latent(path, class_names=tuple("abcd")), LATENT),
    (GRADES, READERS[GRADES], write_autoencoder, GRADES),
    (GRADES, READERS[GRADES], lambda path: write_captions(path.parent, num_classes=4), GRADES),
    (GRADES, READERS[GRADES], lambda path: write_captions(path.parent, number=99), GRADES),
    (MODEL, READERS[MODEL], lambda p: (write_model(p), rewritten(p, lambda d: d | {"target": "score"})), MODEL),
    (MODEL, READERS[MODEL], lambda p: (write_model(p), rewritten(p, lambda d: d | {"schedule": "no"})), "schedule"),
    (MODEL, READERS[MODEL], lambda p: (write_model(p), rewritten(p, lambda d: d | {"timesteps": -1})), MODEL),
    (MODEL, READERS[MODEL], lambda p: (write_model(p), rewritten(p, lambda d: d | {"net": 5})), MODEL),
]


@pytest.mark.parametrize("case", range(len(FOREIGN)))
def test_a_whole_file_that_does_not_fit_is_refused(folder, monkeypatch, case):
    """Weights of another data set run through without a word where shapes happen to agree."""
    file, readers, write, named = FOREIGN[case]
    write(folder / file)
    for name in readers:
        assert named in refusal(name, monkeypatch), name


def with_nan(path):
    tensors, description = load_tensors(path)
    save_tensors(path, {name: tensor * torch.nan for name, tensor in tensors.items()}, description)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *((MODEL, name) for name in ("evaluate", "guidance", "score", "compare")),
        *((EARLY, name) for name in READERS[EARLY]),
        *((path, "compare") for path in (GAN, VAE)),
        (LATENT, "sample_latent"),
        *((JUDGE, name) for name in ("evaluate", "guidance", "score", "compare", "sample_latent")),
    ],
)
def test_samples_that_are_not_finite_are_never_averaged_away(folder, monkeypatch, file, name):
    """Nor what a judge that is not finite makes of them."""
    with_nan(folder / file)
    assert "NaN or infinity" in refusal(name, monkeypatch)


def test_fewer_samples_of_captions_than_classes(folder, monkeypatch):
    set_param(folder, "sample_latent.num_samples", 9)
    line = refusal("sample_latent", monkeypatch)
    assert line.startswith("error: sample_latent.num_samples: 9 is not possible (allowed: 10, one for each class, or")


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


@pytest.mark.parametrize(
    "error", [RuntimeError(ALLOCATOR), MemoryError(), torch.OutOfMemoryError("CUDA out of memory")]
)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("train", "train.batch_size = 32, model.channels = [8]"),
        ("evaluate", "sampling.batch_size = 64, model.channels = [8], evaluate.num_samples = 40"),
    ],
)
def test_a_lack_of_memory_is_told_in_a_line_with_the_keys_that_decide_it(folder, monkeypatch, name, keys, error):
    def forward(*_):
        raise error

    set_param(folder, "model.channels", [8])
    set_param(folder, "train.batch_size", 32)
    set_param(folder, "sampling.batch_size", 64)
    monkeypatch.setattr(UNet, "forward", forward)
    line = refusal(name, monkeypatch)
    assert line.startswith(f"error: {name}: out of memory (what decides how much it takes: {keys}")


def test_a_file_that_does_not_fit_into_memory_is_not_called_damaged(folder, monkeypatch):
    def open_file(*_):
        raise RuntimeError(ALLOCATOR)

    monkeypatch.setattr(tensors, "safe_open", open_file)
    assert refusal("judge", monkeypatch).startswith(
        "error: judge: out of memory (what decides how much it takes: judge."
    )


def test_a_transformer_takes_memory_by_keys_of_its_own():
    params = Params.load(ROOT).changed(["model.kind=dit", "model.width=64"])
    assert memory_keys("train", params) == "train.batch_size = 32, model.patch = 4, model.width = 64, model.depth = 4"


def test_every_stage_but_the_pages_knows_what_decides_its_memory():
    pages = {name for name in STAGES if name.endswith("page")} | {"report"}
    assert set(KEYS) == set(STAGES) - pages
    for name in KEYS:
        main = runpy.run_module(f"stages.{name}", run_name="read")["main"]
        kind = next(iter(inspect.signature(main, eval_str=True).parameters.values()))
        assert memory_keys(name, kind.annotation.load(ROOT)).count(" = ") == len(KEYS[name]) > 0


def test_a_python_without_the_environment_says_how_to_go_on():
    """As a DVC from elsewhere finds it; -S leaves out whatever is installed."""
    process = subprocess.run(
        [sys.executable, "-S", "-m", *COMMANDS["train"]], cwd=ROOT, env={}, capture_output=True, text=True
    )
    assert process.returncode == 1 and process.stderr.count("\n") == 1
    assert process.stderr.startswith(f"error: {sys.executable} has no torch, pydantic, ")
    assert "run `make` once, and `. .venv/bin/activate`" in process.stderr and process.stderr.endswith(f"{GO_BACK}\n")


def test_a_missing_network_names_the_folder(folder, monkeypatch):
    set_param(folder, "data.dataset", "mnist")
    set_param(folder, "model.channels", [8])

    def unreachable(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    line = refusal("prepare", monkeypatch)
    assert line.startswith("error: data.root: 'data/raw' has no MNIST/raw") and "mnist5k" in line


@pytest.mark.parametrize(("file", "name"), [("params.yaml", "prepare"), ("chapters/baselines/params.yaml", "vae")])
def test_missing_params(folder, monkeypatch, file, name):
    (folder / file).unlink()
    assert refusal(name, monkeypatch).startswith(f"error: {file}: No such file or directory")


FULL_DISKS = [
    ("prepare", "data/processed/train.safetensors"),
    ("prepare", "results/data/card.json"),
    ("prepare", "results/data/counts.csv"),
    ("prepare", "results/data/examples.png"),
    ("captions", "data/captions/train.txt"),
    ("schedules", "results/schedules/linear.csv"),
    ("schedules", "results/schedules/forward.png"),
    ("train", MODEL),
    ("train", "results/train/history.csv"),
    ("train", "results/train/timing.json"),
    ("train", "results/train/model.json"),
    ("report", "reports/train/history.csv"),
    ("report", "reports/figures/index/loss.png"),
    ("report", "reports/index.html"),
    ("report", "reports/README.md"),
]


@pytest.mark.parametrize(("name", "file"), FULL_DISKS)
def test_a_full_disk_is_told_in_a_line_and_leaves_nothing_half_written(folder, finished, monkeypatch, name, file):
    """/dev/full has room for no byte: what goes there meets a full disk."""
    if name == "report":
        for part in ("results", "reports"):
            shutil.copytree(finished.path / part, folder / part, dirs_exist_ok=True)
    (folder / file).unlink(missing_ok=True)  # as DVC does
    partial = folder / f"{file}.partial"
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.symlink_to("/dev/full")
    assert refusal(name, monkeypatch) == f"error: {file}: No space left on device (make room on its disk){GO_BACK}"
    assert not (folder / file).exists() and not list(folder.rglob("*.partial"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("prepare", "data/processed/train.safetensors"),
        ("judge", "models/judges/judge.safetensors"),
        ("train", MODEL),
        ("train", "checkpoints/*/written"),
    ],
)
def test_tensors_that_find_no_room_are_told_in_a_line(folder, monkeypatch, name, file):
    """A limit on the size of a file, in the middle of it."""
    for path in folder.glob(file):
        path.unlink()
    set_param(folder, "checkpoint_seconds", 0.0 if "checkpoints" in file else 1000.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        line = refusal(name, monkeypatch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert fnmatch(line, f"error: *{file}: File too large (see ulimit -f){GO_BACK}")
    assert not list(folder.glob(file)) and not list(folder.glob(f"{file}.partial"))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_written_is_told_in_a_line(folder, monkeypatch, number):
    def refusing(path, mode="r", *rest, **options):
        if "w" in mode and str(path).startswith("results"):
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, mode, *rest, **options)

    opened = open
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", refusing)
    line = refusal("captions", monkeypatch)
    assert line.startswith(f"error: results/captions/examples.png: {os.strerror(number)} (") and ".partial" not in line
    assert not list((folder / "results/captions").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_permissions_that_are_missing_are_told_in_a_line(folder, monkeypatch):
    (folder / "results/captions").mkdir(parents=True)
    (folder / "results/captions").chmod(0o555)
    assert refusal("captions", monkeypatch).startswith("error: results/captions/examples.png: Permission denied (see")


def test_a_process_of_its_own_ends_with_status_1_and_no_traceback(folder):
    """What the tests above see inside of this process, as DVC sees it."""
    DAMAGE["cut"](folder / MODEL)
    process = subprocess.run(
        [sys.executable, "-m", *COMMANDS["evaluate"]],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{Path(ROOT, 'src')}"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1 and not process.stdout
    assert process.stderr.startswith(f"error: {MODEL}: ") and process.stderr.count("\n") == 1


def test_the_whole_folder_is_whole(folder, monkeypatch):
    """Else the tests above pass for another reason."""
    for name in ("benchmark", "guidance", "compare"):
        monkeypatch.setattr(sys, "argv", [*COMMANDS[name]])
        runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
    assert json.loads((folder / "results/benchmark/timing.json").read_text())["threads"]
