"""Prompts made from real test images, the images that a latent model draws from them, and what these show."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import load_both, to_uint8
from diffusion.denoiser import guidance
from diffusion.generation import of_latents
from diffusion.latents.autoencoder import decode, encode, refuse_other_images
from diffusion.latents.captions import WORDINGS, Captions, caption
from diffusion.latents.model import LatentModel, load_latent
from diffusion.quality.classification import accuracy
from diffusion.quality.evaluation import Reference
from diffusion.quality.judge import Judge
from diffusion.samplers.ddim import by_ddim
from stages.params.params import LatentParams
from stages.shared.machine import machine_of


class Prompts(NamedTuple):
    """Captions of real test images, and what an image that follows them shows."""

    texts: list[str]
    labels: Tensor  # (N,)
    grades: Tensor  # (N, 3)
    combination: Tensor  # (N,) the held-out combination, -1 for none
    rows: Tensor  # (N,) of the test images


@dataclass(frozen=True, eq=False)
class Prompted:
    """A latent model, and what judges its images: the captions with their measures, real images, the judge."""

    model: LatentModel
    captions: Captions
    reference: Reference

    @classmethod
    def open(cls, params: LatentParams, data: Path, captions: Path, model: Path, judge: Path) -> Self:
        """Read the files. Raises ValueError for files that are missing, damaged or do not belong together."""
        machine = machine_of(params)
        latent_model, description = load_latent(model, *machine)
        train, test = load_both(data)
        refuse_other_images(model, description["autoencoder"], train.shape)
        if description["class_names"] != list(train.class_names):
            raise ValueError(f"{model}: made for other classes than those in {data}")
        reference = Reference(Judge.load(judge, machine.device), train, test, params.seed)
        return cls(latent_model, Captions.load(captions, test.class_names, test=len(test.images)), reference)

    @property
    def shares(self) -> list[str]:
        """What is measured of images: whether they show the class, their recall, and whether they show each property,
        and the one that was held out."""
        return ["accuracy", "recall", *self.captions.properties, "held_out"]

    def draw(self, texts: Sequence[str], steps: int, scale: float, purpose: str, batch_size: int) -> Tensor:
        """Images uint8 (N, C, H, W), on the CPU, of texts by guided DDIM, under a progress bar."""
        denoiser, shape, decode = self.model.denoiser, self.model.latent_shape, self.model.autoencoder.decode
        images_of = of_latents(denoiser, shape, by_ddim(steps), decode, guidance(scale))
        watch = partial(tqdm, desc=f"{purpose}, w = {scale:g}", unit="batch")
        return images_of.images(self.model.tokens(texts), self.reference.seed, purpose, batch_size, watch)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Real images (N, C, H, W), uint8 on the CPU, encoded and decoded."""
        autoencoder = self.model.autoencoder
        return to_uint8(decode(autoencoder, encode(autoencoder, images))).cpu()

    def real(self) -> Prompts:
        """What the real test images show, without texts."""
        test, grades = self.reference.test, self.captions.test_grades
        rows = torch.arange(len(test.images))
        return Prompts([], test.labels, grades, self.captions.unseen(test.labels, grades), rows)

    def prompts(self, number: int, seen: bool) -> Prompts:
        """`number` captions of test images in their order, starting over after the last: of those with a held-out
        combination, or of the others if `seen`. Raises ValueError if there is no such image."""
        real = self.real()
        (chosen,) = torch.where((real.combination < 0) == seen)
        if not len(chosen):
            raise ValueError(
                f"captions.held_out: {len(self.captions.held_out)} leaves no test image that is "
                f"{'not held out' if seen else 'held out'} (try another number)"
            )
        chosen = chosen[torch.arange(number) % len(chosen)]
        labels, grades, words = real.labels[chosen], real.grades[chosen], self.captions.class_words
        texts = [
            caption(self.captions.properties, words[label], of_image, wording=index % len(WORDINGS))
            for index, (label, of_image) in enumerate(zip(labels.tolist(), grades.tolist(), strict=True))
        ]
        return Prompts(texts, labels, grades, real.combination[chosen], chosen)

    def class_texts(self, number: int) -> list[str]:
        """Captions that name nothing but the class, by the shares of the classes."""
        words, properties = self.captions.class_words, self.captions.properties
        labels = self.reference.classes(number).tolist()
        return [caption(properties, words[label], (0, 0, 0), without=tuple(properties)) for label in labels]

    def judge(self, images: Tensor, prompts: Prompts) -> tuple[list[float | None], Tensor]:
        """The `shares` of the images, with the recall of the test images that their prompts describe, and the grades
        measured (N, 3)."""
        found = self.captions.measured(images, prompts.labels)
        right = found == prompts.grades
        asked = prompts.combination >= 0
        held = right[asked, torch.tensor(self.captions.columns)[prompts.combination[asked]]]
        seen = self.reference.judge.see(images)
        recall = self.reference.recall_of(seen.features, prompts.rows.unique())
        shares = [accuracy(seen.logits.argmax(1), prompts.labels), recall, *right.double().mean(dim=0).tolist()]
        return [*shares, held.double().mean().item() if len(held) else None], found
