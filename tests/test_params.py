"""params.yaml: every wrong value is refused with one line that names the key, the value and what is allowed."""

from pathlib import Path

import pytest
from param_files import IN_CHAPTER, default_params, parent_of, write_params

from stages.params.params import AllParams, BaselineParams, LatentParams, Params, ScoreParams

ROOT = Path(__file__).resolve().parents[1]


def load(tmp_path, changes):
    """The default params with {dotted key: value}; a value of `...` removes the key."""
    content = default_params()
    for path, value in changes.items():
        section, key = parent_of(content, path)
        if value is ...:
            del section[key]
        else:
            section[key] = value
    write_params(tmp_path, content)
    return AllParams.load(tmp_path)


def test_the_default_is_accepted_and_frozen(tmp_path):
    params = load(tmp_path, {})
    assert params.schedule == "linear" and params.train.target == "v"
    with pytest.raises(ValueError):
        params.train.steps = 3


@pytest.mark.parametrize("text", ["1e-05", "1.0e-05", "0.00001"])
def test_dvcs_way_of_writing_a_small_number_is_a_number(tmp_path, text):
    """-S train.weight_decay=1e-5 writes 1e-05, which readers of YAML 1.1 take for a text."""
    default = (ROOT / "params.yaml").read_text()
    changed = default.replace("  weight_decay: 0.01", f"  weight_decay: {text}")
    assert changed != default
    (tmp_path / "params.yaml").write_text(changed)
    assert Params.load(tmp_path).train.weight_decay == 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedul": "linear"}, "schedul: unknown key"),
        ({"train.step": 5}, "train.step: unknown key"),
        ({"train.steps": ...}, "train.steps: the key is missing"),
        ({"schedule": "typo"}, "schedule: 'typo' .*'linear', 'linear_unscaled', 'cosine'"),
        ({"schedule": 5}, "schedule: 5 .*'linear', 'linear_unscaled', 'cosine'"),
        ({"train.target": "score"}, "train.target: 'score' .*'eps', 'x0', 'v'"),
        ({"train.steps": "many"}, "train.steps: 'many' .*integer"),
        ({"train.steps": True}, "train.steps: True .*integer"),
        ({"train.steps": 2.5}, "train.steps: 2.5 .*integer"),
        ({"train.steps": 0}, "train.steps: 0 .*greater than or equal to 1"),
        ({"train.learning_rate": "fast"}, "train.learning_rate: 'fast' .*number"),
        ({"train.learning_rate": -1.0}, "train.learning_rate: -1.0 .*greater than 0"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate: nan .*finite"),
        ({"train.label_dropout": 1.0}, "train.label_dropout: 1.0 .*less than 1"),
        ({"guidance.scales": [1.0, -0.5]}, r"guidance.scales.1: -0.5 .*greater than or equal to 0"),
        ({"guidance.scales": []}, r"guidance.scales: \[\] .*at least 1 item"),
        ({"guidance.interval": [2.0, -4.0]}, r"guidance.interval: \[2.0, -4.0\] .*from a lower to a higher"),
        ({"guidance.interval": [2.0]}, "guidance.interval: .*at least 2 items"),
        ({"guidance.rescale": 1.5}, "guidance.rescale: 1.5 .*less than or equal to 1"),
        ({"guidance.num_steps": 2000}, "guidance.num_steps: 2000 .*1 to timesteps = 1000"),
        ({"recommended.num_steps": 2000}, "recommended.num_steps: 2000 .*1 to timesteps = 1000"),
        ({"recommended.interval": [1.0, 1.0]}, r"recommended.interval: \[1.0, 1.0\] .*from a lower to a higher"),
        ({"recommended.guidance": "none"}, "recommended.guidance: 'none' .*'classifier_free', 'autoguidance'"),
        ({"recommended.scale": -1.0}, "recommended.scale: -1.0 .*greater than or equal to 0"),
        ({"sampling.sampler": "ddpm"}, "sampling.sampler: 'ddpm' .*'ddim', 'heun'"),
        ({"train.early_share": 0.0}, "train.early_share: 0.0 .*greater than 0"),
        ({"sampling.ddim_steps": [10, 1001]}, "sampling.ddim_steps: 1001 .*1 to timesteps = 1000"),
        (
            {
                "timesteps": 20,
                **dict.fromkeys(["guidance.num_steps", "sample_latent.num_steps", "sampling.num_steps"], 5),
            },
            "sampling.ddim_steps: 50",
        ),
        ({"model.channels": [64, 128, 128]}, "model.channels: .* 8, divides the image size 28"),
        ({"data.dataset": "digits", "model.patch": 4, "model.channels": [8, 8, 8]}, "model.channels: .*image size 8"),
        (
            {"data.dataset": "folder", "data.image_size": 30, "model.channels": [32, 64]},
            r"data.image_size: 30 .*allowed: 28 or 32, multiples of 4; model.channels decides, whose .* = 4 ",
        ),
        (
            {"data.dataset": "folder", "data.image_size": 4, "model.patch": 4, "model.channels": [8, 8]},
            "data.image_size: 4 .*allowed: 8, mult",
        ),
        (
            {"data.dataset": "folder", "data.image_size": 4, "model.patch": 4, "model.channels": [8] * 8},
            r"data.image_size: 4 is not possible \(allowed: none; model.channels decides, whose .* = 512 divides it",
        ),
        (
            {"data.dataset": "folder", "data.image_size": 28, "autoencoder.channels": [8] * 3},
            "data.image_size: 28 .*allowed: 24 or 32, multiples of 8; autoencoder.channels decides",
        ),
        ({"model.channels": [12]}, "model.channels.0: 12 .*multiple of 8"),
        ({"model.attention_heads": 5}, "model.attention_heads: 5 .*divisor of the last of model.channels, 64"),
        ({"schedule": "linear_zero_snr", "train.target": "eps"}, "train.target: eps .*x0, v"),
        ({"schedule": "linear_zero_snr", "train_latent.target": "eps"}, "train_latent.target: eps .*x0, v"),
        ({"autoencoder.channels": [8, 8, 8]}, r"autoencoder.channels: \[8, 8, 8\] .* 8, divides the image size 28"),
        ({"latent.channels": [8, 8]}, "latent.channels: .* 8, divides the image size 28"),
        ({"latent.attention_heads": 0}, "latent.attention_heads: 0 .*1 or more, to attend to captions"),
        ({"latent.attention_heads": 5}, "latent.attention_heads: 5 .*divisor of the last of latent.channels, 64"),
        ({"text.heads": 5}, "text.heads: 5 .*divisor of text.width = 64"),
        ({"text.encoder": "bert"}, "text.encoder: 'bert' .*'own', 'clip', 'pretrained'"),
        ({"captions.left_out": 1.0}, "captions.left_out: 1.0 .*less than 1"),
        ({"autoencoder.kl_weight": -1.0}, "autoencoder.kl_weight: -1.0 .*greater than or equal to 0"),
        ({"sample_latent.num_steps": 2000}, "sample_latent.num_steps: 2000 .*1 to timesteps = 1000"),
        ({"sampling.ddpm_samples": 600}, "sampling.ddpm_samples: 600 .*sampling.sampler_samples = 500"),
        ({"sampling.sampler_samples": 2000}, "sampling.sampler_samples: 2000 .*evaluate.num_samples = 1000"),
        ({"sampling.ddpm_samples": 8}, "sampling.ddpm_samples: 8 .*16"),
        ({"vae.channels": [8, 8, 8]}, "vae.channels: .*image size 28"),
        ({"gan.patch": 4, "gan.channels": [8, 8]}, "gan.channels: .*here 8, divides the image size 28"),
        ({"vae.kl_weight": 0}, "vae.kl_weight: 0 "),
        ({"gan.adam_beta1": 1.0}, "gan.adam_beta1: 1.0 "),
        ({"compare.ddim_steps": [50, 2000]}, "compare.ddim_steps: 2000 .*1 to timesteps = 1000"),
        (  # all at once
            {"vae.channels": [8, 8, 8], "score.heun_steps": 1001},
            "score.heun_steps: 1001 .*; vae.channels: .*image size 28",
        ),
        ({"score.sde_steps": [1]}, "score.sde_steps.0: 1 .*greater than or equal to 2"),
        ({"score.sde_steps": [2000]}, "score.sde_steps: 2000 .*1 to timesteps = 1000"),
        ({"score.heun_steps": 1001}, "score.heun_steps: 1001 .*1 to timesteps = 1000"),
        ({"score.inversion_steps": [10, 1001]}, "score.inversion_steps: 1001 .*1 to timesteps = 1000"),
        ({"score.tolerance": 0}, "score.tolerance: 0.* .*greater than or equal to 0.000001"),
        ({"score.ode_tolerance": 1.0}, "score.ode_tolerance: 1.0 .*less than or equal to 0.1"),
        ({"score.ode_images": 500}, "score.ode_images: 500 .*score.likelihood_images = 128"),
        ({"score.inversion_images": 11}, "score.inversion_images: 11 .*greater than or equal to 12"),
        ({"seed": -1}, "seed: -1 "),
        ({"train": 5}, r"train: 5 .*allowed: a section with keys"),
        ({"seed": 2**63}, "seed: 9223372036854775808 .*less than 9223372036854775808"),
        ({"timesteps": 10**9}, "timesteps: 1000000000 .*less than or equal to 100000"),
        ({"train.steps": 10**400}, r"train.steps: 1000.*\.\.\. .*less than or equal to 100000000"),
        ({"train.batch_size": 10**6}, "train.batch_size: 1000000 .*less than or equal to 65536"),
        ({"train.learning_rate": 1e300}, r"train.learning_rate: 1e\+300 .*less than or equal to 1"),
        ({"train.learning_rate": 10**400}, "train.learning_rate: 1000.* .*number"),
        ({"train.learning_rate": True}, "train.learning_rate: True .*number"),
        ({"train.compile": 1}, "train.compile: 1 .*boolean"),
        ({"model.channels": [2**20]}, "model.channels.0: 1048576 .*less than or equal to 4096"),
        ({"model.channels": [8] * 10_000}, r"model.channels: \[8, 8, .*\.\.\. .*at most 8 items"),
        ({"model.blocks": 10**6}, "model.blocks: 1000000 .*less than or equal to 100"),
        ({"text.width": 10**6}, "text.width: 1000000 .*less than or equal to 4096"),
        (
            {"judge.extractor": "inception"},
            "judge.extractor: 'inception' .*allowed: 'own', 'fixed', 'torchvision:NAME'",
        ),
        ({"judge.extractor": "torchvision:"}, "judge.extractor: 'torchvision:' .*allowed: 'own', 'fixed'"),
        ({"judge.extractor": "torchvision:../x"}, "judge.extractor: 'torchvision:../x' .*allowed: 'own', 'fixed'"),
        ({"judge.extractor": 3}, "judge.extractor: 3 .*allowed: 'own', 'fixed'"),
        ({"judge.augment": "yes"}, "judge.augment: 'yes' .*boolean"),
        ({"data.channels": True}, "data.channels: True .*allowed: 1, 3"),
        ({"data.channels": 2}, "data.channels: 2 .*allowed: 1, 3"),
        ({"model.patch": 3}, "model.patch: 3 .*allowed: 1, 2, 4"),
        ({"data.root": "a\nb"}, r"data.root: 'a\\nb' .*characters that can be printed"),
        ({"evaluate.num_samples": 10**9}, "evaluate.num_samples: 1000000000 .*less than or equal to 1000000"),
        ({"sampling.ddim_steps": [10, 20, 10]}, r"sampling.ddim_steps: \[10, 20, 10\] .*every value once"),
        ({"guidance.scales": [1.0, 1.0000001]}, "guidance.scales: .*every value once"),
        ({"guidance.scales": [1e6]}, r"guidance.scales.0: 1000000.0 .*less than or equal to 1000"),
        ({"schedule": "x" * 900}, r"schedule: 'xxx.*\.\.\. is not possible"),
    ],
)
def test_wrong_values_are_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, changes)
    line, key = str(caught.value), message.partition(".")[0].partition(":")[0]
    assert "\n" not in line and line.startswith(f"{tmp_path / IN_CHAPTER.get(key, 'params.yaml')}: {key}")


def test_a_key_of_a_chapter_belongs_in_the_file_of_the_chapter(tmp_path):
    score = "chapters/score/params.yaml"
    load(tmp_path, {})
    with (tmp_path / "params.yaml").open("a") as file:
        file.write("score: {}\n")
    with pytest.raises(ValueError, match=f"^{tmp_path}/params.yaml: score: unknown key .it belongs in .*{score}.$"):
        ScoreParams.load(tmp_path)
    with pytest.raises(ValueError, match=f"^{tmp_path}/params.yaml: score: unknown key$"):
        Params.load(tmp_path)


def test_a_key_of_the_spine_does_not_stand_in_a_chapter_too(tmp_path):
    load(tmp_path, {})
    with (tmp_path / "chapters/latent/params.yaml").open("a") as file:
        file.write("seed: 0\n")
    with pytest.raises(ValueError, match="latent/params.yaml: seed: unknown key .it belongs in .*params.yaml.$"):
        LatentParams.load(tmp_path)


def test_a_stage_reads_no_file_of_a_chapter_that_is_not_its_own(tmp_path):
    load(tmp_path, {})
    (tmp_path / "chapters/latent/params.yaml").write_text("- no params\n")
    assert BaselineParams.load(tmp_path).vae and Params.load(tmp_path).train
    with pytest.raises(ValueError, match="latent/params.yaml: "):
        LatentParams.load(tmp_path)


def test_values_are_changed_as_dvc_takes_them():
    changes = ["train.steps=5", "chapters/latent/params.yaml:text.width=8", "model.channels=[8,16]"]
    params = AllParams.load(ROOT).changed(changes)
    assert (params.train.steps, params.text.width, params.model.channels) == (5, 8, [8, 16])
    with pytest.raises(ValueError, match="train.step: unknown key"):
        params.changed(["train.step=5"])


def test_so_few_steps_that_scaled_betas_reach_1(tmp_path):
    few = {"sampling.ddim_steps": [5], "sampling.eta_steps": [5], "sampling.solver_steps": [5], "sampling.num_steps": 5}
    few |= {
        "recommended.num_steps": 5,
        "guidance.num_steps": 5,
        "sample_latent.num_steps": 5,
        "compare.ddim_steps": [5],
        "timesteps": 20,
    }
    few |= {"score.sde_steps": [5], "score.heun_steps": 5, "score.inversion_steps": [5]}
    with pytest.raises(ValueError, match="timesteps: 20 .*21 or more for schedule linear"):
        load(tmp_path, few)
    assert load(tmp_path, few | {"schedule": "cosine"}).timesteps == 20
