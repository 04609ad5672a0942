"""The loss of a student, against formulas by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from planish.ir.core.errors import FeedError
from planish.passes.recover.recover.training.losses import (
    DistillationObjective,
    normalized_error,
    soft_cross_entropy,
)

from tests.passes.recover.recover.small import normal

Array = np.ndarray[Any, Any]


def test_the_distillation_loss_by_hand() -> None:
    student, teacher = normal(0, 7, 5).astype(np.float64), normal(1, 7, 5).astype(np.float64)
    found = soft_cross_entropy(torch.tensor(student), torch.tensor(teacher), 3.0)

    def softmax(scores: Array) -> Array:
        raised = np.exp(scores / 3 - (scores / 3).max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    p, q = softmax(teacher), softmax(student)
    assert float(found) == pytest.approx(9 * (p * np.log(p / q)).sum(1).mean(), rel=1e-9)


def _objective(activation: str = "", **options: Any) -> DistillationObjective:
    given: dict[str, Any] = {"distill": 1.0, "temperature": 2.0, "feature_weight": 0.0} | options
    return DistillationObjective(
        outputs=("y",), activations={"y": activation}, features=("f",), **given
    )


def test_probabilities_and_scores_have_one_loss() -> None:
    a, b = (torch.tensor(normal(seed, 6, 4)) for seed in (0, 1))
    scores = _objective()({"y": a}, {"y": b}, None)
    probabilities = _objective("Softmax")({"y": a.softmax(1)}, {"y": b.softmax(1)}, None)
    assert float(scores) == pytest.approx(float(probabilities), rel=1e-4)
    flat = _objective()({"y": a[..., None, None]}, {"y": b[..., None, None]}, None)
    assert float(scores) == pytest.approx(float(flat))


def test_the_terms_of_the_objective() -> None:
    student = {"y": torch.tensor(normal(0, 6, 4)), "f": torch.tensor(normal(1, 6, 3, 2, 2))}
    teacher = {"y": torch.tensor(normal(2, 6, 4)), "f": torch.tensor(normal(3, 6, 3, 2, 2))}
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    soft = soft_cross_entropy(student["y"], teacher["y"], 2.0)
    hard = nn.functional.cross_entropy(student["y"], labels)
    error = student["f"] - teacher["f"]
    feature = (error**2).mean() / teacher["f"].numpy().var().item()
    total = _objective(distill=0.5, feature_weight=0.25)(student, teacher, labels)
    assert float(total) == pytest.approx(float(0.5 * soft + hard + 0.25 * feature), rel=1e-5)
    assert float(_objective(distill=0.0)(student, teacher, labels)) == pytest.approx(float(hard))
    top, right = _objective().hits(student, teacher, labels) or (None, None)
    assert top is not None
    assert right is not None
    assert top.tolist() == (student["y"].argmax(1) == teacher["y"].argmax(1)).tolist()
    assert right.tolist() == (student["y"].argmax(1) == labels).tolist()


def test_positions_agree_along_the_axis_of_the_classes() -> None:
    a, b = (torch.tensor(normal(seed, 6, 3, 4)) for seed in (0, 1))
    objective = _objective(class_axes={"y": 2})
    top, right = objective.hits({"y": a}, {"y": b}, None) or (None, None)
    assert top is not None
    assert right is None
    assert top.tolist() == (a.argmax(2) == b.argmax(2)).flatten().tolist()
    assert objective.judged({"y": a}, {"y": b}) == "along axis 2 of output 'y'"


@pytest.mark.parametrize("shape", [(6, 4, 5, 5), (6, 4, 2), (6, 1)])
def test_other_outputs_have_a_squared_error(shape: tuple[int, ...]) -> None:
    a, b = torch.tensor(normal(0, *shape)), torch.tensor(normal(1, *shape))
    objective = _objective()
    assert objective.hits({"y": a}, {"y": b}, None) is None
    expected = ((a - b) ** 2).mean() / b.numpy().var().item()
    assert float(objective({"y": a}, {"y": b}, None)) == pytest.approx(float(expected), rel=1e-5)
    assert float(normalized_error(a, b)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("activation", ["", "Softmax"])
def test_maps_of_labels_by_hand(axis: int, activation: str) -> None:
    """Positions without a label count for nothing, neither in the loss nor in what is right."""
    scores = torch.tensor(normal(0, 6, 4, 5, 7).astype(np.float64))
    given = scores.softmax(1) if activation else scores
    labels = np.random.default_rng(1).integers(0, 4, (6, 1, 5, 7))
    labels[0, 0, 0], labels[1, 0, 1] = 255, -1
    objective = _objective(activation, distill=0.0, class_axes={"y": axis})
    student = {"y": given.movedim(1, axis)}
    classes = objective.check_labels(labels, student, "t")
    assert classes.shape == (6, 5, 7)
    found = objective(student, student, torch.from_numpy(classes))
    logs = scores.log_softmax(1).numpy()
    told = [
        (-logs[n, label, i, j], logs[n, :, i, j].argmax() == label)
        for (n, i, j), label in np.ndenumerate(labels[:, 0])
        if label not in (-1, 255)
    ]
    assert len(told) == 6 * 5 * 7 - 14
    assert float(found) == pytest.approx(np.mean([loss for loss, _ in told]), rel=1e-6)
    _, right = objective.hits(student, student, torch.from_numpy(classes)) or (None, None)
    assert right is not None
    assert right.double().mean().item() == pytest.approx(np.mean([hit for _, hit in told]))


def test_without_any_label_there_is_no_loss() -> None:
    student = {"y": torch.zeros(2, 3, 4, 4)}
    objective = _objective(distill=0.0)
    classes = objective.check_labels(np.full((2, 4, 4), 255), student, "t")
    assert float(objective(student, student, torch.from_numpy(classes))) == 0.0


def test_maps_of_another_size_are_refused() -> None:
    student = {"y": torch.zeros(2, 3, 4, 4)}
    with pytest.raises(FeedError, match=r"one a position .*'y' \[2, 3, 4, 4\]"):
        _objective().check_labels(np.zeros((2, 8, 8), np.int64), student, "t")
    with pytest.raises(FeedError, match="from 0 to 3, but the outputs have 3 classes"):
        _objective().check_labels(np.arange(32).reshape(2, 4, 4) % 4, student, "t")
