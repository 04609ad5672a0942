"""Boxes with scores and classes, and how those of two images overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .result import Array

_NEARLY_ALL = 0.99
# So many boxes of an image are looked at, those with the highest scores.
_MOST = 1000


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image: corners [n, 4] (x1, y1, x2, y2), scores [n], classes [n]."""

    corners: Array
    scores: Array
    classes: Array

    def above(self, least: float) -> Boxes:
        """Return those with at least the score `least`, the highest first."""
        order = np.argsort(-self.scores, kind="stable")
        return self._at(order[self.scores[order] >= least][:_MOST])

    def without_overlaps(self, most: float) -> Boxes:
        """Return those, in order, that overlap none of the same class before by over `most`.

        Greedy non-maximum suppression.
        """
        kept = self.classes != self.classes  # a class that is no number is no other's
        for label in np.unique(self.classes):
            places = self.of_class(label)
            apart = iou(self.corners[places], self.corners[places]) <= most
            left = np.ones(len(places), bool)
            for index, place in enumerate(places):
                if left[index]:
                    kept[place] = True
                    left &= apart[index]
        return self._at(np.flatnonzero(kept))

    def of_class(self, label: Any) -> Array:
        """Return the places of those of class `label`."""
        return np.flatnonzero(self.classes == label)

    def _at(self, index: Array) -> Boxes:
        return Boxes(self.corners[index], self.scores[index], self.classes[index])


def iou(a: Array, b: Array) -> Array:
    """Return intersection over union of corners [n, 4] and [m, 4], as [n, m].

    Of a box and itself it is 1, without an area too.
    """
    # Axis by axis: numpy takes many times as long over a last axis of two.
    x1, y1, x2, y2 = ((a[:, None, place], b[None, :, place]) for place in range(4))
    width = np.maximum(np.minimum(*x2) - np.maximum(*x1), 0.0)
    both = width * np.maximum(np.minimum(*y2) - np.maximum(*y1), 0.0)
    areas = [np.prod(np.maximum(each[:, 2:] - each[:, :2], 0.0), axis=1) for each in (a, b)]
    either = areas[0][:, None] + areas[1][None, :] - both
    equal = np.ones(both.shape, bool)
    for mine, theirs in (x1, y1, x2, y2):
        equal &= mine == theirs
    found: Array = np.divide(both, either, out=equal.astype(np.float64), where=either > 0)
    return found


def corners_of(centres: Array) -> Array:
    """Return corners of boxes [..., 4] given as (cx, cy, width, height)."""
    half = centres[..., 2:4] / 2
    return np.concatenate([centres[..., :2] - half, centres[..., :2] + half], axis=-1)


def are_corners(boxes: Array, *, strictly: bool = False) -> bool:
    """Say whether boxes are corners: the second one right of and below the first."""
    low, high = boxes[..., :2], boxes[..., 2:4]
    wide = np.all(high > low if strictly else high >= low, axis=-1)
    return bool(wide.mean() >= _NEARLY_ALL)


def are_boxes(values: Array) -> bool:
    """Say whether values [..., 4] are boxes: corners, or centres and sizes above zero."""
    if not values.size or values.dtype.kind != "f" or not np.all(np.isfinite(values)):
        return False
    sized = (values[..., 2] >= 0) & (values[..., 3] >= 0) & (values[..., :2].max(-1) >= 0)
    return are_corners(values) or bool(sized.mean() >= _NEARLY_ALL)
