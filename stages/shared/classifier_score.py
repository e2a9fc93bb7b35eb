"""The classifier accuracy score: what a classifier that has seen nothing but samples knows about real images.

Samples must be both right and various for it, since a missing mode is one that the classifier never meets (Ravuri &
Vinyals 2019).
"""

import torch

from diffusion.data import Dataset
from diffusion.nets.classifier import Classifier
from diffusion.quality.classification import accuracy
from diffusion.quality.judge import Judge, judge_loss
from diffusion.randomness import generator_for
from diffusion.runtime import place
from diffusion.training.loop import Learner, fit, state_of, training_step
from diffusion.training.optimiser import Optimiser

WIDTH, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 24, 64, 2e-3, 0.05
PURPOSE = "compare/classifier"


def classifier_score(
    samples: Dataset, test: Dataset, steps: int, device: torch.device, seed: int, draw: int = 0
) -> float:
    """Accuracy on the test images of a classifier trained on the samples for so many steps, in fp32.

    Weights and batches are those of `draw`, the same for all samples, so that scores differ by the samples alone.
    """
    channels, size, _ = test.shape
    torch.manual_seed(generator_for(seed, PURPOSE, draw).initial_seed())
    net = place(Classifier(size, channels, test.num_classes, width=WIDTH), device)
    optimiser = Optimiser(net.parameters(), LEARNING_RATE, steps, weight_decay=WEIGHT_DECAY)
    learners = {"classifier": Learner(net, judge_loss(net, precision="fp32"), optimiser)}
    images, labels = samples.images.to(device), samples.labels.to(device)
    update = training_step(
        learners,
        images,
        labels,
        batch_size=min(BATCH_SIZE, len(images)),
        seed=seed,
        purpose=f"{PURPOSE}/{draw}",
    )
    for _ in fit(update, state_of(learners), steps, steps):
        pass
    return accuracy(Judge(net, device).see(test.images).logits.argmax(1), test.labels)
