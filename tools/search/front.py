"""Points that were built and measured, those that no other beats, and which one is the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .plan import SitePlan
from .request import Budget


@dataclass(frozen=True)
class Stage:
    """A part of a pipeline, and how many samples it is given; None: all to learn from."""

    pipeline: str
    samples: int | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """A network that the stages of a pipeline make, and what was measured of it.

    `seconds`: of one run; `speedup`: times as fast as the model that was given, side by side.
    `drop`: what the metric loses, at most, of all outputs; `accuracy`: what the judge told.
    `foretold`: seconds, noise and bytes that the costs of its sites let expect, corrected as points
    before it showed; `raw_seconds` without that, and `alone` the noise of single sites by kind.
    """

    stages: tuple[Stage, ...]
    model: Path
    sha256: str
    seconds: float
    speedup: float
    bytes: int
    drop: float
    holds: bool
    accuracy: Mapping[str, Any]
    plan: SitePlan | None = None
    raw_seconds: float = 0.0
    alone: Mapping[str, float] = field(default_factory=dict)
    foretold: Mapping[str, float] = field(default_factory=dict)
    recovery: str = "none"
    spent: float = 0.0
    remarks: Sequence[Sequence[str]] = ()

    @property
    def pipeline(self) -> str:
        """The pipeline as one text."""
        return ",".join(stage.pipeline for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold, without its sites."""
        told = asdict(self)
        del told["plan"]
        return {"pipeline": self.pipeline, **told, "model": str(self.model)}


def is_beaten(point: Point, others: Sequence[Point]) -> bool:
    """Say whether one of `others` is as good in time, size and drop, and better in one."""
    own = (point.seconds, point.bytes, point.drop)
    return any(
        all(a <= b for a, b in zip(their, own, strict=True)) and their != own
        for their in ((o.seconds, o.bytes, o.drop) for o in others)
    )


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points that none of the others beats, the most accurate first."""
    kept = [point for point in points if not is_beaten(point, points)]
    return sorted(kept, key=lambda point: (point.drop, point.seconds))


def misses(point: Point, budget: Budget) -> dict[str, str]:
    """Return which bounds `point` is outside of, with what it has and what was asked."""
    found = {}
    if budget.max_drop is not None and not point.holds:
        found["max-drop"] = (
            f"{100 * point.drop:.2g} % lost, {100 * (budget.max_drop or 0):g} % asked"
        )
    if budget.speedup is not None and point.speedup < budget.speedup:
        found["speedup"] = f"{point.speedup:.2f}x, {budget.speedup:g}x asked"
    if budget.size is not None and point.bytes > budget.size:
        found["size"] = f"{point.bytes / 1e6:.2f} MB, {budget.size / 1e6:g} MB asked"
    return found


def best_of(points: Sequence[Point], budget: Budget) -> Point:
    """Return the point to take: within the bounds the fastest, or the most accurate.

    The latter where accuracy has no bound. Where none is within all, the one that is outside of
    fewest, accuracy before size before speed.
    """

    def rank(point: Point) -> tuple[bool, bool, bool, float]:
        out = misses(point, budget)
        by_noise = budget.max_drop is None and "speedup" not in out
        best = float(point.accuracy["noise"]) if by_noise else point.seconds
        return "max-drop" in out, "size" in out, "speedup" in out, best

    return min(points, key=rank)
