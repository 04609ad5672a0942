"""How well what was foretold of points holds, and what corrects it.

    scale of a kind = noise of all its sites together / sum of their noise alone

Sums of errors of single sites tell which choice is better, and by how much they are off is seen in
what was built: what integers add from points without other losses, the rest from what is left. The
metric loses by the size of errors, whose square noise is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .front import Point

# A correction is at most that large, as one point may be an odd one.
_MOST = 4.0
_LEAST_PART = 0.1


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """What points show: `slowness` multiplies foretold seconds, `scales` the noise by its kind.

    `steepness`: the drop of the metric for the square root of noise; None where none was lost.
    `rank_correlation`: of foretold and measured noise over the points (Spearman), None for fewer
    than three.
    """

    slowness: float = 1.0
    scales: dict[str, float] = field(default_factory=dict)
    steepness: float | None = None
    rank_correlation: float | None = None

    @classmethod
    def of(cls, points: Sequence[Point]) -> Foresight:
        """Return what `points` show, the latest first where they differ."""
        planned = _latest(points)
        slowness = 1.0
        if planned:
            ratios = [p.seconds / p.raw_seconds for p in planned[-3:] if p.raw_seconds]
            slowness = float(np.clip(np.median(ratios), 1 / _MOST, _MOST)) if ratios else 1.0
        return cls(
            slowness=slowness,
            scales=_scales(planned),
            steepness=_steepness(points),
            rank_correlation=_rank_correlation(planned),
        )

    def noise_of(self, drop: float | None) -> float | None:
        """Return the noise at which the metric loses `drop`; None where nothing bounds it."""
        if drop is None:
            return None
        return (drop / (1.0 if self.steepness is None else self.steepness)) ** 2


def _latest(points: Sequence[Point]) -> list[Point]:
    """Return the points with a plan, of each plan the one that has learned last."""
    found = {point.plan: point for point in points if point.plan is not None}
    return list(found.values())


def _scales(points: Sequence[Point]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for point in points:
        joint = float(point.accuracy["noise"])
        kinds = [kind for kind, noise in point.alone.items() if noise > 0]
        learned = [kind for kind in kinds if kind in ("pruned", "substituted")]
        if not kinds or not joint > 0:
            continue
        if not learned:
            whole = sum(point.alone[kind] for kind in kinds)
            scales |= dict.fromkeys(kinds, joint / whole)
            continue
        numbers = sum(scales.get(k, 1.0) * point.alone[k] for k in kinds if k not in learned)
        rest = max(joint - numbers, _LEAST_PART * joint)
        scales |= dict.fromkeys(learned, rest / sum(point.alone[kind] for kind in learned))
    return scales


def _steepness(points: Sequence[Point]) -> float | None:
    known = [
        point.drop / math.sqrt(point.accuracy["noise"])
        for point in points
        if point.drop > 0 and point.accuracy["noise"] > 0
    ]
    return float(np.median(known)) if known else None


def _rank_correlation(points: Sequence[Point]) -> float | None:
    pairs = [(p.foretold["noise"], p.accuracy["noise"]) for p in points if p.foretold]
    if len(pairs) < 3:
        return None
    a, b = (np.argsort(np.argsort(side)) for side in zip(*pairs, strict=True))
    return float(np.corrcoef(a, b)[0, 1])
