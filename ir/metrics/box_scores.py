"""How sure a detector is of each box, from scores of classes in whatever form its head gives them.

p = s,  sigmoid(s)  or  softmax(s) over the classes, of which one may say that there is nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .result import Array

_SLACK = 1e-3
_HALF = 0.5
# Beyond this a sigmoid is 0 or 1 in float64, and exp overflows nowhere before.
_FLAT = 50.0


@dataclass(frozen=True)
class BoxScores:
    """What scores [..., boxes, classes] are, and which class stands for no object, if one does."""

    form: Literal["probabilities", "sigmoid", "softmax"]
    background: int | None

    def __str__(self) -> str:
        """Say it in a sentence's words."""
        nothing = "" if self.background is None else f", class {self.background} is no object"
        return f"{'' if self.form == 'probabilities' else 'before '}{self.form}{nothing}"

    def best(self, scores: Array) -> tuple[Array, Array]:
        """Return the surest class of each box of scores [boxes, classes], and how sure it is."""
        known = scores.astype(np.float64)
        if self.form == "sigmoid":
            known = 1 / (1 + np.exp(-np.clip(known, -_FLAT, _FLAT)))
        elif self.form == "softmax":
            known = _softmax(known)
        if self.background is not None:
            known = known.copy()
            known[:, self.background] = -1.0
        return known.argmax(axis=1), known.max(axis=1)


def read_scores(values: Array) -> BoxScores:
    """Return what `values` [N, boxes, classes] of some images are.

    Most boxes hold nothing: where a class wins most of them after a Softmax, it says so. Scores of
    a Sigmoid are low for all classes there, so that none does.
    """
    if in_unit(values):
        sums_to_one = values.shape[2] > 1 and np.allclose(values.sum(axis=2), 1, atol=_SLACK)
        return BoxScores("probabilities", _end(values) if sums_to_one else None)
    known = _softmax(values.astype(np.float64))
    nothing = _end(known)
    if values.shape[2] > 1 and known[..., nothing].mean() > _HALF:
        return BoxScores("softmax", nothing)
    return BoxScores("sigmoid", None)


def in_unit(values: Array) -> bool:
    """Say whether all values lie in 0..1."""
    return bool(values.size and values.min() >= -_SLACK and values.max() <= 1 + _SLACK)


def _end(scores: Array) -> int:
    """Return the first or the last class, whichever is the more likely one."""
    means = scores.mean(axis=(0, 1))
    return 0 if means[0] >= means[-1] else len(means) - 1


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
