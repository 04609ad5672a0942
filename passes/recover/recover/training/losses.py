"""What the student is asked for: its teacher's outputs, features, and labels if there are any.

    loss = task + distill * soft + features * mean over tensors of |f_S - f_T|^2 / var f_T
    soft = T^2 KL(softmax(z_T / T) | softmax(z_S / T))    for class scores [N, C]
         = |y_S - y_T|^2 / var y_T                        for other outputs
    task = cross-entropy of the first class scores with the labels

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
        [N, C] there may be positions, which all count; labels are of samples alone.
        """
        found = self._judging(student, teacher)
        if found is None:
            return None
        name, axis = found
        same = student[name].argmax(axis) == teacher[name].argmax(axis)
        scores = self.scores(name, student[name]) if labels is not None else None
        return same.reshape(-1), None if scores is None else scores.argmax(1) == labels

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

        for name in self.outputs:
            scores = self.scores(name, student[name])
            if scores is not None:
                return functional.cross_entropy(scores, labels)
        raise RefusedError(
            "labels were given, but no output of the graph has class scores [N, C]; leave labels "
            "out, or give a loss of your own from Python"
        )

    def check_labels(self, labels: np.ndarray[Any, Any], student: Tensors, name: str) -> Any:
        """Return labels [N] as int64. Raises FeedError where they are no classes of the outputs."""
        flat = labels.reshape(len(labels), -1)
        classes = next(
            (s.shape[1] for n in self.outputs if (s := self.scores(n, student[n])) is not None),
            None,
        )
        if flat.shape[1] != 1 or labels.dtype.kind not in "iu":
            raise FeedError(
                f"labels '{name}' are {labels.dtype.name} {list(labels.shape)}; give one whole "
                "number a sample, the index of its class"
            )
        if classes is not None and flat.size and not 0 <= flat.min() <= flat.max() < classes:
            raise FeedError(
                f"labels '{name}' go from {flat.min()} to {flat.max()}, but the outputs have "
                f"{classes} classes, counted from 0"
            )
        return flat[:, 0].astype(np.int64)


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
