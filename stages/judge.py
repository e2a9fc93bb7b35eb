"""Stage `judge`: two classifiers of clean images with their features, the extractor, and one of noised images."""

from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Dataset, load_both
from diffusion.nets.classifier import Classifier
from diffusion.nets.lenet import LeNet
from diffusion.quality.classification import accuracy, confusion_matrix
from diffusion.quality.extractor import describe_by, fitted_extractor
from diffusion.quality.judge import JUDGE, NOISY, SECOND, Judge, Net, judge_loss, recognisability
from diffusion.runtime import place
from diffusion.training.loop import Learner, Update, state_of, training_step
from diffusion.training.optimiser import Optimiser
from diffusion.transfer import all_sent
from stages.params.params import Params
from stages.shared.command import run
from stages.shared.machine import machine_of
from stages.shared.outputs import CONFUSION, confusion_rows, write_json, write_table
from stages.shared.together import in_processes
from stages.shared.training import Learners, Training

WEIGHT_DECAY = 0.05
WARMUP_SHARE = 0.1
NOISED_LOG_SNR = (2.0, 0.0, -2.0)
HISTORY = ("judge_loss", "noisy_judge_loss", "second_judge_loss")


def main(params: Params, *, data: Path, models: Path, results: Path) -> None:
    """Train the three judges on the training split of --data; write them to --models and their figures to --results."""
    machine = machine_of(params)
    train, test = load_both(data)
    name, folder = params.judge.extractor, Path(params.judge.weights)
    described = describe_by(name, folder)  # before the training, which would be in vain without
    update, learners = training_of_all(params, train, *machine)
    depends_on, files = params.model_dump(include={"seed", "shards", "judge"}), [data / "train.safetensors"]
    training = Training("judge", update, state_of(learners), params.judge, machine, depends_on, files, HISTORY)
    with training.trained(results, params):
        net, noisy_net, second_net = (learner.net for learner in learners.values())
        extractor = None if described is None else fitted_extractor(name, described, train.images, machine.device)
        clean = Judge(net, machine.device, extractor)
        noisy, second = Judge(noisy_net, machine.device), Judge(second_net, machine.device)
        clean.save(models / "judge.safetensors")
        noisy.save(models / "noisy_judge.safetensors")
        second.save(models / "second_judge.safetensors")
        write_figures(results, clean, noisy, second, train, test, params.seed)


def write_figures(
    results: Path, judge: Judge, noisy_judge: Judge, second_judge: Judge, train: Dataset, test: Dataset, seed: int
) -> None:
    """Write the accuracy of all on the test split, and the confusion matrix of the first."""
    predictions = judge.see(test.images).logits.argmax(1)
    confusion = confusion_matrix(predictions, test.labels, test.num_classes)
    figures = {
        "accuracy": accuracy(predictions, test.labels),
        "n_test": len(test.images),
        "n_train": len(train.images),
        "parameters": sum(p.numel() for p in judge.net.parameters()),
        "noisy": noisy_figures(noisy_judge, test, seed),
        "second": {
            "accuracy": accuracy(second_judge.see(test.images).logits.argmax(1), test.labels),
            "parameters": sum(p.numel() for p in second_judge.net.parameters()),
        },
    }
    write_json(results / "metrics.json", figures)
    write_table(results / "confusion.csv", CONFUSION, confusion_rows(confusion, test.class_names))


def training_of_all(params: Params, train: Dataset, device: torch.device, precision: str) -> tuple[Update, Learners]:
    """The training of the three judges side by side, not begun: its step for `fit`, and its learners."""
    trainings = [training_of(params, train, device, precision, kind) for kind in (JUDGE, NOISY, SECOND)]

    def update(step: int) -> dict[str, Tensor]:
        losses = [of_one(step)["loss"] for of_one, _ in trainings]
        return {"loss": torch.stack(losses).sum(), **dict(zip(HISTORY, losses, strict=True))}

    return update, {name: learner for _, learners in trainings for name, learner in learners.items()}


def training_of(
    params: Params, train: Dataset, device: torch.device, precision: str, kind: str
) -> tuple[Update, Learners]:
    """The training of one judge, not begun: its step for `fit`, and its learner. Each has its own order of batches."""
    settings = params.judge
    torch.manual_seed(params.seed)
    channels, size, _ = train.shape
    net: Net
    if kind == SECOND:
        net = LeNet(size, channels, train.num_classes)
    else:
        net = Classifier(size, channels, train.num_classes, knows_noise=kind == NOISY)
    net = place(net, device)
    optimiser = Optimiser(
        net.parameters(),
        settings.learning_rate,
        settings.steps,
        weight_decay=WEIGHT_DECAY,
        warmup_steps=round(WARMUP_SHARE * settings.steps),
    )
    learners = {kind: Learner(net, judge_loss(net, precision=precision, varied=settings.augment), optimiser)}
    items, labels = all_sent(train.images, device), train.labels.to(device)
    update = training_step(
        learners,
        items,
        labels,
        batch_size=settings.batch_size,
        seed=params.seed,
        purpose=SECOND if kind == SECOND else JUDGE,
        order=kind,
        shards=params.shards,
    )
    return update, learners


def noisy_figures(noisy_judge: Judge, test: Dataset, seed: int) -> dict[str, float | list[dict[str, float]]]:
    """Accuracy on clean test images, and on noised ones at several log-SNRs."""
    alpha_bars = [1.0, *torch.tensor(NOISED_LOG_SNR, dtype=torch.float64).sigmoid().tolist()]
    clean, *noised = recognisability(noisy_judge, test.images, test.labels, alpha_bars, seed)
    rows = [{"log_snr": log_snr, "accuracy": right} for log_snr, right in zip(NOISED_LOG_SNR, noised, strict=True)]
    return {"accuracy_clean": clean, "accuracy_noised": rows}


if __name__ == "__main__":
    run(main, in_processes)
