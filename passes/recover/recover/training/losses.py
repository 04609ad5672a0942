"""What the student is asked for: its teacher's outputs, features, and labels if there are any.

    loss = task + distill * soft + features * mean over tensors of |f_S - f_T|^2 / var f_T
    soft = T^2 KL(softmax(z_T / T) | softmax(z_S / T))    for class scores [N, C]
         = |y_S - y_T|^2 / var y_T                        for other outputs
    task = cross-entropy of the first class scores with the labels, a sample's or a position's

Sources: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); Romero et al.,
"FitNets: Hints for Thin Deep Nets" (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.errors import FeedError, RefusedError
from .....ir.metrics.labels import LEFT_OUT, as_classes, class_axis_of
from ....analysis.observe.squares import LEAST, MOST

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]
Loss = Callable[[dict[str, Any], dict[str, Any], Any], Any]

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class DistillationObjective:
    """The loss of a student's tensors against its teacher's, both by name.

    `outputs`: the graph's float outputs; `activations`: the operator that makes each. `features`:
    the inner tensors. `class_axes`: where outputs with positions have their classes. `loss`: taken
    instead of task and distillation terms, called with outputs of student and teacher and with the
    labels or None.
    """

    outputs: tuple[str, ...]
    activations: Mapping[str, str]
    features: tuple[str, ...]
    distill: float
    temperature: float
    feature_weight: float
    loss: Loss | None = None
    class_axes: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, student: Tensors, teacher: Tensors, labels: Any) -> Any:
        """Return the loss, a scalar."""
        if self.loss is not None:
            mine = {name: student[name] for name in self.outputs}
            total = self.loss(mine, {name: teacher[name] for name in self.outputs}, labels)
        else:
            terms = [self._soft(n, student[n], teacher[n]) for n in self.outputs]
            total = self.distill * sum(terms) if self.distill else 0.0
            if labels is not None:
                total = total + self._task(student, labels)
        if self.feature_weight and self.features:
            parts = [normalized_error(student[n], teacher[n]) for n in self.features]
            total = total + self.feature_weight * sum(parts) / len(parts)
        return total

    def scores(self, name: str, output: torch.Tensor) -> torch.Tensor | None:
        """Return class scores [N, C] whose softmax says what `output` says, or None."""
        if output.ndim > 2 and all(size == 1 for size in output.shape[2:]):
            output = output.flatten(1)
        activation = self.activations.get(name, "")
        if output.ndim != 2 or output.shape[1] < 2 or activation == "Sigmoid":
            return None
        return output.clamp_min(_TINY).log() if activation == "Softmax" else output

    def hits(self, student: Tensors, teacher: Tensors, labels: Any) -> tuple[Any, Any] | None:
        """Return, a sample, whether the top class is the teacher's, and whether it is the label's.

        None where no output has classes; the second is None without labels. Beside class scores
        [N, C] there may be positions, which all count, those without a label apart.
        """
        found = self._judging(student, teacher)
        if found is None:
            return None
        name, axis = found
        same = student[name].argmax(axis) == teacher[name].argmax(axis)
        told = None if labels is None else self._told(student, labels)
        if told is None:
            return same.reshape(-1), None
        right = told[1].argmax(1) == labels
        return same.reshape(-1), right[labels != LEFT_OUT]

    def judged(self, student: Tensors, teacher: Tensors) -> str:
        """Say along which axis of which output `hits` looks, "" where it does not."""
        found = self._judging(student, teacher)
        return "" if found is None else f"along axis {found[1]} of output '{found[0]}'"

    def _judging(self, student: Tensors, teacher: Tensors) -> tuple[str, int] | None:
        """Return the first output with classes, and their axis."""
        for name in self.outputs:
            pair = (self.scores(name, each[name]) for each in (student, teacher))
            if all(scores is not None for scores in pair):
                return name, 1
            if name in self.class_axes:
                return name, self.class_axes[name]
        return None

    def _soft(self, name: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        mine, theirs = self.scores(name, student), self.scores(name, teacher)
        if mine is None or theirs is None:
            return normalized_error(student, teacher)
        return soft_cross_entropy(mine, theirs, self.temperature)

    def _task(self, student: Tensors, labels: Any) -> Any:
        from torch.nn import functional

        told = self._told(student, labels)
        if told is None:
            raise RefusedError(
                "labels were given, but no output of the graph has class scores for them; leave "
                "labels out, or give a loss of your own from Python"
            )
        total = functional.cross_entropy(told[1], labels, reduction="sum", ignore_index=LEFT_OUT)
        return total / (labels != LEFT_OUT).sum().clamp_min(1)

    def _told(self, outputs: Tensors, labels: Any) -> tuple[str, torch.Tensor] | None:
        """Return the first output of which `labels` say what is right, as scores [N, C, ...]."""
        for name in self.outputs:
            found = outputs[name]
            axis = self._label_axis(name, found, labels.shape)
            if axis is not None:
                scores = found.movedim(axis, 1).reshape(len(found), -1, *labels.shape[1:])
                logs = self.activations.get(name) == "Softmax"
                return name, scores.clamp_min(_TINY).log() if logs else scores
        return None

    def _label_axis(self, name: str, output: torch.Tensor, labels: Sequence[int]) -> int | None:
        if self.activations.get(name) == "Sigmoid":
            return None
        return class_axis_of(output.shape, labels, self.class_axes.get(name))

    def check_labels(self, labels: np.ndarray[Any, Any], student: Tensors, name: str) -> Any:
        """Return labels [N], or maps of them, [N, ...], as int64; `LEFT_OUT` does not count.

        `student`: outputs, of any number of samples. Raises FeedError where `labels` are no classes
        of the outputs.
        """

        def count(output: str) -> int | None:
            found = student[output]
            axis = self._label_axis(output, found, (len(found), *labels.shape[1:]))
            return None if axis is None else int(found.shape[axis])

        counts = [n for n in map(count, self.outputs) if n is not None]
        if labels.dtype.kind not in "iu" or not counts:
            each = ", ".join(f"'{n}' {list(student[n].shape)}" for n in self.outputs)
            raise FeedError(
                f"labels '{name}' are {labels.dtype.name} {list(labels.shape)}; give one whole "
                "number a sample, the index of its class, or one a position of an output with "
                f"scores of classes (there are {each})"
            )
        classes = as_classes(labels, counts[0])
        counted = classes[classes != LEFT_OUT]
        if counted.size and not 0 <= counted.min() <= counted.max() < counts[0]:
            raise FeedError(
                f"labels '{name}' go from {counted.min()} to {counted.max()}, but the outputs have "
                f"{counts[0]} classes, counted from 0"
            )
        return classes


def soft_cross_entropy(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return T^2 KL(softmax(teacher / T) | softmax(student / T)) of scores [N, C], mean over N."""
    from torch.nn import functional

    mine = functional.log_softmax(student / temperature, 1)
    theirs = functional.log_softmax(teacher / temperature, 1)
    divergence = functional.kl_div(mine, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def normalized_error(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return mean (student - teacher)^2 over the variance of the teacher's values.

    Both are taken in units in which squares stay in the range of float32.
    """
    unit = _unit_of(teacher)
    spread = (teacher / unit).var(correction=0)
    return ((student - teacher) / unit).square().mean() / spread.clamp_min(_TINY)


def _unit_of(values: torch.Tensor) -> torch.Tensor:
    """Return a power of two near the largest of `values` where squares overflow or vanish, else 1.

    A power of two moves no digit, so that a loss in another unit is the same loss.
    """
    import torch

    most = values.detach().abs().amax() if values.numel() else values.new_zeros(())
    near = torch.exp2(torch.floor(torch.log2(most)))
    usual = (most > LEAST) & (most < MOST) | (most == 0) | ~torch.isfinite(most)
    return torch.where(usual, torch.ones_like(near), near)


def activations(graph: gs.Graph, outputs: Sequence[str]) -> dict[str, str]:
    """Return the operators that make the tensors called `outputs`."""
    return {
        tensor.name: node.op
        for node in graph.nodes
        for tensor in node.outputs
        if tensor.name in outputs
    }
