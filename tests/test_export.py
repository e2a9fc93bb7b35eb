"""Models for other tools: our images by diffusers' own scheduler, and cards that say what was measured."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffusion.denoiser import clipped, guidance, load_denoiser, save_denoiser
from diffusion.export import __main__ as export
from diffusion.export.diffusers_folder import PREDICTION_TYPES
from diffusion.export.table import FORMATS
from diffusion.nets.unet import UNet
from diffusion.samplers.ddim import by_ddim
from diffusion.samplers.step import final
from diffusion.target import TARGETS
from diffusion.tensors import load_tensors

ROOT = Path(__file__).resolve().parents[1]
T = 40
NET = {
    "image_size": 8,
    "image_channels": 1,
    "num_classes": 3,
    "patch": 2,
    "channels": [8, 16],
    "blocks": 1,
    "attention_heads": 2,
    "dropout": 0.0,
    "mirrored": True,
}


def model_file(path, schedule="linear", target="v", names=("bat", "cat", "dog")):
    """A denoiser whose every weight matters."""
    torch.manual_seed(0)
    net = UNet(**NET)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.15)
    description = {"net": NET, "schedule": schedule, "timesteps": T, "target": target, "class_names": list(names)}
    save_denoiser(path, net.state_dict(), description)
    return path


def exported(model, form, out, reports="nothing"):
    arguments = ["--model", model, "--format", form, "--out", out, "--reports", reports]
    export.main(export._parser().parse_args([*map(str, arguments)]))
    return out


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """What loads a folder with diffusers, whose copies of custom code stay in this test's folder."""
    diffusers = pytest.importorskip("diffusers")
    from diffusers.utils import dynamic_modules_utils

    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])

    def load(folder):
        pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True, use_safetensors=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    yield load
    for name in [name for name in sys.modules if name.startswith("diffusers_modules")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("schedule", "target"), [("linear", "v"), ("cosine", "eps"), ("sigmoid", "x0"), ("linear_zero_snr", "v")]
)
def test_diffusers_makes_the_images_of_our_ddim(tmp_path, loaded, schedule, target):
    """From the same start noise, in fp32, with its own DDIMScheduler."""
    model = model_file(tmp_path / "model.safetensors", schedule, target)
    denoiser, _ = load_denoiser(model, torch.device("cpu"), "fp32")
    pipeline = loaded(exported(model, "diffusers", tmp_path / "folder"))
    assert type(pipeline.scheduler).__module__ == "diffusers.schedulers.scheduling_ddim"
    label = torch.tensor([0, 1, 2, 1])
    start = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    images = []
    for steps, scale in ((10, 1.0), (20, 3.0), (T, 0.0)):
        found = pipeline(label.tolist(), steps, scale, latents=start, output_type="pt").images
        with torch.no_grad():
            walk = by_ddim(steps)(clipped(guidance(scale)(denoiser, label)), denoiser.schedule, iter([start]))
            ours = final(walk)
        assert (2 * found - 1 - ours).abs().max() < 1e-4
        images.append(ours)
    assert all(image.std() > 0.05 for image in images) and (images[0] - images[1]).abs().max() > 0.05


def test_the_pipeline_takes_names_and_refuses_what_would_be_wrong(tmp_path, loaded):
    pipeline = loaded(exported(model_file(tmp_path / "model.safetensors"), "diffusers", tmp_path / "folder"))

    def drawn(classes):
        return pipeline(classes, 4, eta=1.0, generator=torch.Generator().manual_seed(0)).images

    by_name, by_label = drawn(["cat", "dog"]), drawn([1, 2])
    assert [image.tobytes() for image in by_name] == [image.tobytes() for image in by_label]
    assert by_name[0].size == (8, 8) and by_name[0].mode == "L" and by_name[0].tobytes() != by_name[1].tobytes()
    with pytest.raises(ValueError, match="num_inference_steps: 30 is not possible .allowed: divisors of 40"):
        pipeline([0], 30)  # DDIMScheduler would go on from 30 to 29, and not to 28.67
    for unknown in ("cow", 3):
        with pytest.raises(ValueError, match=f"class: {unknown!r} is unknown .allowed: bat, cat, dog, or 0 to 2"):
            pipeline([unknown], 4)


def test_the_code_in_the_folder_needs_nothing_of_ours(tmp_path):
    folder = exported(model_file(tmp_path / "model.safetensors"), "diffusers", tmp_path / "folder")
    for name in ("pipeline.py", "unet/class_unet.py"):
        code = (folder / name).read_text()
        compile(code, name, "exec")
        assert "from diffusion." not in code and "import diffusion" not in code
    assert set(PREDICTION_TYPES) == set(TARGETS) - {"flow"}


def test_a_target_that_diffusers_scheduler_lacks_is_refused(tmp_path):
    model = model_file(tmp_path / "model.safetensors", "flow", "flow")
    with pytest.raises(ValueError, match="target: 'flow' is none of DDIMScheduler's .allowed: eps, x0, v"):
        exported(model, "diffusers", tmp_path / "folder")


def test_weights_come_back_with_their_description(tmp_path):
    model = model_file(tmp_path / "model.safetensors")
    folder = exported(model, "safetensors", tmp_path / "folder")
    assert (folder / "model.safetensors").read_bytes() == model.read_bytes()
    assert json.loads((folder / "config.json").read_text()) == load_tensors(model)[1]


@pytest.fixture
def measured(tmp_path):
    """A model file, and the committed records of the default run as if they were of it."""
    model, reports = model_file(tmp_path / "model.safetensors"), tmp_path / "reports"
    for name in ("train", "data", "judge", "evaluate"):
        shutil.copytree(ROOT / "reports" / name, reports / name)
    done = subprocess.run(["sha256sum", model], check=True, capture_output=True, text=True)
    edit(reports / "train/model.json", sha256=done.stdout.split()[0])
    return model, reports


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("form", FORMATS)
def test_the_card_states_data_licence_figures_with_n_and_floor_limits_and_use(measured, tmp_path, form):
    model, reports = measured
    card = (exported(model, form, tmp_path / "folder", reports) / "README.md").read_text()
    verdict = json.loads((reports / "evaluate/metrics.json").read_text())
    data = json.loads((reports / "data/card.json").read_text())
    for title in ("How to use it", "Data", "Figures", "Limits"):
        assert card.count(f"## {title}\n") == 1
    floor = verdict["fid_floor"]
    assert f"| FID, lower is better | {verdict['fid']:.2f} | {floor['mean']:.2f} ± {floor['std']:.2f} |" in card
    assert f"| Coverage, higher is better | {verdict['coverage']:.3f} | {verdict['floor']['coverage']:.3f} |" in card
    assert f"n = {verdict['n']:,} images by DDIM in {verdict['calls']} network evaluations" in card
    assert f"n = {floor['n']:,} real training images" in card and verdict["extractor"] in card
    assert data["source"] in card and f"Licence of the data: {data['license']}." in card
    assert "Classes: `bat`, `cat`, `dog`." in card and "predicts v" in card


def test_a_card_of_few_samples_has_no_fid(measured, tmp_path):
    model, reports = measured
    nothing = dict.fromkeys(("fid", "precision", "recall", "clipped_density", "coverage", "clipped_coverage"))
    floor = {"mean": None, "std": None, "draws": 5, "n": 40}
    memorisation = {"ratio_median": None, "share_below_1_percent": None}
    edit(reports / "evaluate/metrics.json", n=40, fid_floor=floor, memorisation=memorisation, **nothing)
    card = (exported(model, "safetensors", tmp_path / "folder", reports) / "README.md").read_text()
    assert "| KID" in card and "FID, lower" not in card and "Precision" not in card and "None" not in card


def test_figures_of_another_model_are_on_no_card(measured, tmp_path, capsys):
    model, reports = measured
    edit(reports / "train/model.json", sha256="0" * 64)
    card = (exported(model, "safetensors", tmp_path / "folder", reports) / "README.md").read_text()
    assert "FID" not in card and "its quality" in card
    assert capsys.readouterr().out.count("\n") == 1


def test_names_of_classes_make_no_markup_of_the_card(tmp_path):
    names = ("`a` | <script>", "``b", "[c](d)")
    model = model_file(tmp_path / "model.safetensors", names=names)
    card = (exported(model, "diffusers", tmp_path / "folder") / "README.md").read_text()
    assert "Classes: `` `a` | <script> ``, ``` ``b ```, `[c](d)`." in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "no.safetensors"], "error: no.safetensors: no such file"),
        (["--out", "no/such/folder"], "error: --out: no/such/folder is not possible (allowed: a folder"),
        (["--out", "model.safetensors"], "error: --out: model.safetensors is not possible"),
        (["--format", "pickle"], "error: --format: invalid choice: 'pickle'"),
        (["--reports", "damaged"], "error: damaged/data/card.json: no record of a run"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_before_any_work(measured, tmp_path, monkeypatch, arguments, message):
    shutil.copytree(tmp_path / "reports", tmp_path / "damaged")
    (tmp_path / "damaged/data/card.json").unlink()
    monkeypatch.chdir(tmp_path)
    usual = ["--model", "model.safetensors", "--format", "safetensors", "--out", "folder"]
    monkeypatch.setattr(sys, "argv", ["diffusion-export", *usual, *arguments])
    with pytest.raises(SystemExit) as caught:
        export.run()
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert not (tmp_path / "folder").exists()
