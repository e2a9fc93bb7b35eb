"""Prompts of real test images, the images that a model of latents draws of them, and what those hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.data import gathered, load_both, to_uint8
from diffusion.denoiser import guided
from diffusion.latents.autoencoder import decoded, encoded, refuse_other_images
from diffusion.latents.captions import WORDINGS, Captions, caption
from diffusion.latents.model import LatentModel, load_latent
from diffusion.latents.strokes import PROPERTIES, graded, measured
from diffusion.latents.text import PAD
from diffusion.quality.evaluation import Reference
from diffusion.quality.judge import Judge
from diffusion.quality.metrics import accuracy
from diffusion.randomness import image_noise
from diffusion.samplers.sampler import SamplerSetting, generate
from stages.params.params import LatentParams
from stages.shared.machine import machine_of

SHARES = ("accuracy", *PROPERTIES, "held_out")  # of images that hold what was asked


class Prompts(NamedTuple):
    """Captions of real test images, and what an image that holds them has."""

    texts: list[str]
    labels: Tensor  # (N,)
    grades: Tensor  # (N, 3)
    combination: Tensor  # (N,) the held-out combination, -1 for none


@dataclass(frozen=True, eq=False)
class Measurement:
    """The model, the captions' measures and the judge, with which prompts are asked and images read."""

    model: LatentModel
    captions: Captions
    reference: Reference
    seed: int
    batch_size: int

    @classmethod
    def of(cls, params: LatentParams, data: Path, captions: Path, model: Path, judge: Path) -> Self:
        """Of these files. Raises ValueError where they do not belong together."""
        machine = machine_of(params)
        latent_model, description = load_latent(model, *machine)
        train, test = load_both(data)
        refuse_other_images(model, description["autoencoder"], train.images.shape[1:])
        if description["class_names"] != list(train.class_names):
            raise ValueError(f"{model}: made for other classes than those in {data}")
        reference = Reference(Judge.load(judge, machine.device), train, test, params.seed)
        measured_captions = Captions.load(captions, test.class_names, test=len(test.images))
        return cls(latent_model, measured_captions, reference, params.seed, params.evaluate.batch_size)

    def prompts(self, number: int, seen: bool) -> Prompts:
        """As many captions of test images, in their order and again from the first: of held-out combinations or not."""
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
            caption(words[label], of_image, wording=index % len(WORDINGS))
            for index, (label, of_image) in enumerate(zip(labels.tolist(), grades.tolist(), strict=True))
        ]
        return Prompts(texts, labels, grades, real.combination[chosen])

    def images(self, texts: Sequence[str], setting: SamplerSetting, scale: float, purpose: str) -> Tensor:
        """Images uint8 (N, C, H, W) on the CPU."""
        denoiser, shape = self.model.denoiser, self.model.latent_shape
        batches = generate(
            lambda tokens: guided(denoiser, tokens, scale, PAD),
            denoiser.schedule,
            setting,
            self.model.tokens(texts),
            partial(image_noise, self.seed, purpose, shape=shape, device=denoiser.device),
            self.batch_size,
        )
        name, total = f"{purpose}, w = {scale:g}", -(-len(texts) // self.batch_size)
        images = (decoded(self.model.autoencoder, latents) for latents in batches)
        return gathered(tqdm(images, desc=name, unit="batch", total=total))

    def real(self) -> Prompts:
        """What the real test images hold."""
        test, grades = self.reference.test, self.captions.test_grades
        return Prompts([], test.labels, grades, self.captions.unseen(test.labels, grades))

    def class_texts(self, number: int) -> list[str]:
        """Captions that name the class alone: image k has class k mod K."""
        words = self.captions.class_words
        return [caption(words[k % len(words)], (0, 0, 0), without=PROPERTIES) for k in range(number)]

    def reconstructed(self, images: Tensor) -> Tensor:
        """Real images (N, C, H, W), uint8 on the CPU, encoded and decoded."""
        autoencoder = self.model.autoencoder
        return to_uint8(decoded(autoencoder, encoded(autoencoder, images))).cpu()

    def read(self, images: Tensor, prompts: Prompts) -> tuple[list[float | None], Tensor]:
        """SHARES of the images that hold what was asked, and the grades measured (N, 3)."""
        found = graded(measured(images), prompts.labels, self.captions.bounds)
        right = found == prompts.grades
        columns = [PROPERTIES.index(combination.name) for combination in self.captions.held_out]
        asked = prompts.combination >= 0
        held = right[asked, torch.tensor(columns)[prompts.combination[asked]]]
        classes = self.reference.judge.see(images).logits.argmax(1)
        shares = [accuracy(classes, prompts.labels), *right.double().mean(dim=0).tolist()]
        return [*shares, held.double().mean().item() if len(held) else None], found
