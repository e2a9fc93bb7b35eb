"""How far predicted classes agree with labels: all that stage `judge` needs, so no edit of another retrains it."""

from torch import Tensor


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Share of predicted classes (N,) that are the labels (N,)."""
    assert predictions.shape == labels.shape and len(labels) > 0
    return (predictions == labels).double().mean().item()


def confusion_matrix(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Counts (num_classes, num_classes): row = actual class, column = predicted class."""
    assert predictions.shape == labels.shape
    return (labels * num_classes + predictions).bincount(minlength=num_classes**2).view(num_classes, num_classes)


def effective_number(counts: Tensor) -> float:
    """exp of the entropy of the shares of counts (K,): K if all are equal, 1 if one has everything."""
    shares = counts[counts > 0].double() / counts.sum()
    return (-(shares * shares.log()).sum()).exp().item()
