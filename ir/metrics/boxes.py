"""Boxes with scores and classes, and how those of two images overlap."""

from __future__ import annotations

from dataclasses import dataclass

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
        left, kept = np.ones(len(self.scores), bool), []
        for index in range(len(self.scores)):
            if not left[index]:
                continue
            kept.append(index)
            one = self._at(np.array([index]))
            left &= (iou(one.corners, self.corners)[0] <= most) | (
                self.classes != self.classes[index]
            )
        return self._at(np.array(kept, np.int64))

    def _at(self, index: Array) -> Boxes:
        return Boxes(self.corners[index], self.scores[index], self.classes[index])


def iou(a: Array, b: Array) -> Array:
    """Return intersection over union of corners [n, 4] and [m, 4], as [n, m].

    Of a box and itself it is 1, without an area too.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(np.maximum(each[:, 2:] - each[:, :2], 0.0), axis=1) for each in (a, b)]
    either = areas[0][:, None] + areas[1][None, :] - both
    equal = np.all(a[:, None] == b[None], axis=2).astype(np.float64)
    found: Array = np.divide(both, either, out=equal, where=either > 0)
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
