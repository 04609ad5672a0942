"""Boxes given as offsets from anchors that only the program behind the graph knows.

    center = a + v_c t_xy A        size = A exp(v_s t_wh)       anchor: center a, size A

IoU of two boxes does not change where both are moved or stretched alike, so that of two predictions
from one anchor needs no anchor: each is taken as a unit square, far from all others. Boxes then
match by the index of their anchor, and are compared as boxes. Overlaps of unlike anchors are not
known, so none is suppressed: an object counts as often as anchors find it.

The variances are 0.1 and 0.2 where offsets are divided by them to spread by about one (SSD), or 1.

Source: Liu et al., "SSD: Single Shot MultiBox Detector" (ECCV 2016), section 2.2, and its code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .box_scores import BoxScores
from .boxes import Boxes, corners_of
from .result import Array, Outputs

# Anchors stand so far apart, in sizes of one; boxes reach nowhere near.
_APART = 1e4
_FARTHEST = 1e3
_LARGEST = 4.0  # in powers of e
# Fewer are no grid of anchors.
_LEAST_ANCHORS = 16
# Offsets are small numbers: sizes of anchors, or logarithms.
_MOST = 100.0
_OWN = (1.0, 1.0)
_OF_SSD = (0.1, 0.2)
_BETWEEN = 0.5


def are_offsets(values: Array) -> bool:
    """Say whether values [N, anchors, 4] are offsets and no boxes: small, of either sign."""
    if values.ndim != 3 or values.shape[1] < _LEAST_ANCHORS or not np.all(np.isfinite(values)):
        return False
    both = (values.min(axis=(0, 1)) < 0) & (values.max(axis=(0, 1)) > 0)
    return bool(both.all() and np.abs(values).max() <= _MOST)


def variances(offsets: Array) -> tuple[float, float]:
    """Return what offsets of centers and of sizes are multiplied by, from how they spread."""
    return _OF_SSD if float(offsets.std()) > _BETWEEN else _OWN


@dataclass(frozen=True, kw_only=True)
class AnchorLayout:
    """Gives the boxes of `offsets` [N, anchors, 4], with `scores` [N, anchors, classes]."""

    offsets: str
    scores: str
    variances: tuple[float, float]
    reading: BoxScores

    def __call__(self, outputs: Outputs) -> list[Boxes]:
        """Return the boxes of each image, those of an anchor where no other anchor's are."""
        pairs = zip(outputs[self.offsets], outputs[self.scores], strict=True)
        return [self._image(offsets.astype(np.float64), scores) for offsets, scores in pairs]

    def _image(self, offsets: Array, scores: Array) -> Boxes:
        of_centers, of_sizes = self.variances
        centers = np.clip(of_centers * offsets[:, :2], -_FARTHEST, _FARTHEST)
        centers[:, 0] += _APART * np.arange(len(centers))
        sizes = np.exp(np.clip(of_sizes * offsets[:, 2:], -_LARGEST, _LARGEST))
        classes, best = self.reading.best(scores)
        return Boxes(corners_of(np.concatenate([centers, sizes], axis=1)), best, classes)
