"""The loss whose derivatives prune scores units by.

Given labels, of samples or of positions, it is their cross-entropy. Without labels it is that of
targets which the original graph draws itself: a class from its softmax,

    L = -log p(y | x),   y ~ softmax(teacher(x)),

or for outputs that are no scores of classes its outputs with noise of their own spread,

    L = 1/2 mean (s - (t + sigma e))^2 / sigma^2,   e ~ N(0, 1).

The plain distance of a graph from itself is least at its own weights, so that its gradient is zero
where pruning begins. The gradients of these losses are not: they are zero in the mean there, and
their spread is the Fisher information, how fast the output's distribution changes with a weight
(Kunstner et al., "Limitations of the empirical Fisher approximation", NeurIPS 2019, section 2).
Once the graph differs from the original, the mean of the gradient is that of the distillation loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .....ir.core.errors import FeedError, RefusedError
from .....ir.metrics.labels import LEFT_OUT, as_classes, class_axis_of
from .....ir.run.reference import Reference
from .criterion import Array, ScoringContext

if TYPE_CHECKING:
    import torch

Outputs = Mapping[str, Any]
Taken = Callable[[Outputs, Mapping[str, Array]], Any]


def make_loss(state: ScoringContext) -> Taken:
    """Return the loss of outputs (tensors by name) on one feed: given, by labels, or by itself."""
    if state.loss is not None:
        return state.loss
    probabilities = {
        t.name for t in state.graph.outputs if t.inputs and t.inputs[0].op == "Softmax"
    }
    if state.labels is not None:
        return _labelled(state.labels, probabilities)
    return _drawn(state, probabilities)


def _labelled(labels: str, probabilities: set[str]) -> Taken:
    def loss(outputs: Outputs, feed: Mapping[str, Array]) -> torch.Tensor:
        import torch
        from torch.nn import functional

        target = np.asarray(feed[labels])
        if target.dtype.kind not in "iu":
            raise FeedError(
                f"entry '{labels}' of the feeds is {target.dtype}; labels are integers, one class "
                "index a sample or position"
            )
        for name, scores in outputs.items():
            axis = class_axis_of(scores.shape, target.shape)
            if axis is None:
                continue
            count = scores.shape[axis]
            classes = as_classes(target, count)
            counted = classes[classes != LEFT_OUT]
            if int(counted.max(initial=0)) >= count or int(counted.min(initial=0)) < 0:
                raise FeedError(
                    f"entry '{labels}' of the feeds has labels from {counted.min()} to "
                    f"{counted.max()}; output '{name}' has {count} classes"
                )
            logits = _logits(scores, name in probabilities).movedim(axis, 1)
            total = functional.cross_entropy(
                logits.reshape(*logits.shape[:2], *classes.shape[1:]),
                torch.from_numpy(classes),
                ignore_index=LEFT_OUT,
                reduction="sum",
            )
            return total / max(counted.size, 1)
        raise RefusedError(
            f"no output has the scores of {len(target)} samples, as '{labels}' has labels; give "
            "the loss as a function: Prune(loss=...)"
        )

    return loss


def _drawn(state: ScoringContext, probabilities: set[str]) -> Taken:
    import torch
    from torch.nn import functional

    original = state.context.original
    teacher = Reference(state.graph if original is None else original, optimized=True)
    generator = torch.Generator().manual_seed(state.context.seed)

    def loss(outputs: Outputs, feed: Mapping[str, Array]) -> torch.Tensor:
        told = teacher({name: a for name, a in feed.items() if name != state.labels})
        total = torch.zeros(())
        for name, found in outputs.items():
            if not found.is_floating_point() or not found.requires_grad:
                continue
            if name not in told or told[name].shape != tuple(found.shape):
                raise RefusedError(
                    f"output '{name}' is not what the original graph gives, so that it cannot "
                    "teach; give labels, or prune in a run of its own"
                )
            wanted = torch.from_numpy(np.array(told[name])).to(found.dtype)
            if is_classifier(found):
                chances = wanted if name in probabilities else wanted.softmax(1)
                drawn = torch.multinomial(chances.float(), 1, generator=generator)[:, 0]
                total = total + functional.cross_entropy(
                    _logits(found, name in probabilities), drawn
                )
                continue
            wide = wanted.double()  # of large outputs the squares leave float32
            spread = (wide.std() if wide.numel() > 1 else wide.abs().sum()).to(found.dtype)
            spread = spread.clamp_min(torch.finfo(found.dtype).tiny)
            noise = torch.randn(wanted.shape, generator=generator).to(found.dtype)
            total = total + 0.5 * (((found - wanted) / spread - noise) ** 2).mean()
        return total

    return loss


def is_classifier(scores: torch.Tensor) -> bool:
    """Say whether a tensor holds the scores of classes: [samples, classes]."""
    return bool(scores.ndim == 2 and scores.shape[1] > 1)


def _logits(scores: torch.Tensor, is_probability: bool) -> torch.Tensor:
    return scores.clamp_min(1e-30).log() if is_probability else scores
