"""Stage `judge`: a classifier of clean images, whose features are the extractor, and one of noised images."""

import argparse
from collections import Counter
from functools import partial

import torch

from diffusion.data import Dataset, load_both
from diffusion.judge import Judge, judge_update, recognisability, share_right
from diffusion.nets.classifier import Classifier
from diffusion.runtime import pick_device, pick_precision, prepare_machine
from diffusion.training import Optimiser, Progress, batch_indices, fit
from stages.command import run
from stages.outputs import write_json, write_table
from stages.params import Params
from stages.progress import watched

WEIGHT_DECAY = 0.05
WARMUP_SHARE = 0.1
REPORTS_PER_RUN = 20
NOISED_LOG_SNR = (2.0, 0.0, -2.0)


def main(params: Params, arguments: argparse.Namespace) -> None:
    """Train both judges on the training split of --data, write them to --models and their figures to --report."""
    prepare_machine(pick_device(params.device))
    train, test = load_both(arguments.data)
    if params.judge.batch_size > len(train.images):
        raise ValueError(
            f"judge.batch_size: {params.judge.batch_size} is not possible (allowed: 1 to {len(train.images)} images)"
        )
    judge, losses = train_judge(params, train, knows_noise=False)
    noisy_judge, noisy_losses = train_judge(params, train, knows_noise=True)
    judge.save(arguments.models / "judge.safetensors")
    noisy_judge.save(arguments.models / "noisy_judge.safetensors")

    logits = judge.see(test.images).logits
    pairs = Counter(zip(test.labels.tolist(), logits.argmax(1).tolist(), strict=True))
    history = [(p.step, p.means["loss"], q.means["loss"]) for p, q in zip(losses, noisy_losses, strict=True)]
    figures = {
        "accuracy": share_right(logits, test.labels),
        "n_test": len(test.images),
        "n_train": len(train.images),
        "parameters": sum(p.numel() for p in judge.net.parameters()),
        "noisy": noisy_figures(noisy_judge, test, params.seed),
    }
    write_json(arguments.report / "metrics.json", figures)
    write_table(arguments.report / "history.csv", ["step", "judge_loss", "noisy_judge_loss"], history)
    write_table(
        arguments.report / "confusion.csv",
        ["actual", "predicted", "count"],
        [[a, p, pairs[i, j]] for i, a in enumerate(test.class_names) for j, p in enumerate(test.class_names)],
    )


def train_judge(params: Params, train: Dataset, knows_noise: bool) -> tuple[Judge, list[Progress]]:
    """A judge after `judge.steps` steps on the training split, and its loss on the way."""
    settings, device = params.judge, pick_device(params.device)
    name = "noisy judge" if knows_noise else "judge"
    torch.manual_seed(params.seed)
    _, channels, _, size = train.images.shape
    net = Classifier(size, channels, len(train.class_names), knows_noise=knows_noise)
    net.to(device, memory_format=torch.channels_last)
    optimiser = Optimiser(
        net.parameters(),
        settings.learning_rate,
        settings.steps,
        weight_decay=WEIGHT_DECAY,
        warmup_steps=round(WARMUP_SHARE * settings.steps),
    )
    update = judge_update(
        net,
        optimiser.descend,
        partial(batch_indices, len(train.images), settings.batch_size, params.seed, name),
        train.images.to(device),
        train.labels.to(device),
        precision=pick_precision(params.precision, device),
        seed=params.seed,
    )
    steps = fit(update, {}, settings.steps, max(1, settings.steps // REPORTS_PER_RUN))
    history = list(watched(steps, name, settings.steps, settings.batch_size))
    return Judge(net, device), history


def noisy_figures(noisy_judge: Judge, test: Dataset, seed: int) -> dict[str, float | list[dict[str, float]]]:
    """Accuracy on clean test images, and on noised ones at a few log-SNR."""
    alpha_bars = [1.0, *torch.tensor(NOISED_LOG_SNR, dtype=torch.float64).sigmoid().tolist()]
    clean, *noised = recognisability(noisy_judge, test.images, test.labels, alpha_bars, seed)
    rows = [{"log_snr": log_snr, "accuracy": right} for log_snr, right in zip(NOISED_LOG_SNR, noised, strict=True)]
    return {"accuracy_clean": clean, "accuracy_noised": rows}


if __name__ == "__main__":
    run(main, "data", "models", "report")
