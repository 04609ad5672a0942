"""The search: what every choice costs, which choices fit the budget, and what they really are.

    survey -> solve -> build, recover, quantize -> measure, judge -> correct the costs -> solve ...

What is built is measured in a process of its own, and the best so far lies on disk at all times.
Every step is a task of the journal, so that a search that was ended goes on where it was.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...ir.core.atomic import replacing
from ..tasks.journal import TaskJournal
from .build import MODEL, build_task
from .clock import measure_task
from .costs import ChoiceCosts, SiteCosts
from .front import Point, best_of, front_of, misses
from .judge import judge_task
from .plan import Recovery, SitePlan
from .request import Request
from .survey import Given, Survey

_MEASURED = 3.0  # seconds of a point beside the model that was given
# What is foretold is met by that much, so that what is measured falls on the right side.
_SPARE = 1.03
_ROUNDS = 6
_MOST_CORRECTION = 4.0


@dataclass(frozen=True)
class Found:
    """What a search has found: all points, those that no other beats, and the one to take."""

    points: tuple[Point, ...]
    front: tuple[Point, ...]
    best: Point
    costs: SiteCosts | None
    baseline: float


class BudgetSearch:
    """A search for a network within the budget of `request`, which writes to `out` as it goes."""

    def __init__(
        self,
        journal: TaskJournal,
        given: Given,
        request: Request,
        out: Path,
        kept: Callable[[Found], None] = lambda found: None,
    ) -> None:
        self._journal = journal
        self._given = given
        self._request = request
        self._out = out
        self._kept = kept
        self._points: list[Point] = []
        self._costs: SiteCosts | None = None
        self._best: Point | None = None
        self._slowest: dict[str, float] = {}

    def run(self) -> Found:
        """Search until the budget is met and the front is known, or time is up."""
        self._try_text("exact")
        self._try_text("int8{measure=false,guard=off}")
        survey = Survey(self._journal, self._given, self._request)
        base = survey.base()
        self._costs = survey.costs(base)
        self._meet()
        return self._found()

    def _meet(self) -> None:
        """Build what the costs say fits the budget, and correct them by what that is."""
        seen: set[SitePlan] = {p.plan for p in self._points if p.plan is not None}
        for _ in range(_ROUNDS):
            if not self._has_time("blocks"):
                return
            plan = self._solved()
            if plan is None or plan in seen:
                return
            seen.add(plan)
            self._try(plan, "blocks" if plan.is_pruned else "none")
            if not misses(self._best_point(), self._request.budget):
                return

    def _solved(self) -> SitePlan | None:
        assert self._costs is not None
        budget, base = self._request.budget, self._baseline()
        costs = ChoiceCosts(self._costs, self._scales())
        bounds: dict[str, float] = {}
        if budget.size is not None:
            bounds["bytes"] = float(budget.size)
        if budget.speedup is not None:
            bounds["seconds"] = base / (budget.speedup * _SPARE) / self._slowness()
            choice = costs.problem.solve(bounds)
            if choice is None:
                del bounds["seconds"]
                choice = costs.problem.solve(bounds, least="seconds")
        else:
            bounds["error"] = self._noise_of(budget.max_drop)
            choice = costs.problem.solve(bounds, least="seconds")
        return None if choice is None else costs.plan(choice)

    def _noise_of(self, drop: float | None) -> float:
        """Return the noise at which the metric loses `drop`, as the points so far let expect.

        The metric loses by the size of errors, noise is their square.
        """
        if drop is None:
            return math.inf
        known = [
            p.drop / math.sqrt(p.accuracy["noise"])
            for p in self._points
            if p.drop > 0 and p.accuracy["noise"] > 0
        ]
        steep = float(np.median(known)) if known else 1.0
        return (drop / steep) ** 2

    def _slowness(self) -> float:
        """Return how much longer points took than was foretold."""
        known = [p.seconds / p.foretold["seconds"] for p in self._points if p.foretold]
        if not known:
            return 1.0
        return float(np.clip(known[-1], 1 / _MOST_CORRECTION, _MOST_CORRECTION))

    def _scales(self) -> dict[str, float]:
        """Return by what the noise of single sites is to be multiplied, as joint points show."""
        assert self._costs is not None
        costs = ChoiceCosts(self._costs)
        scales = {"quantized": 1.0, "pruned": 1.0}
        for point in self._points:
            if point.plan is None:
                continue
            alone, joint = costs.noise(point.plan), point.accuracy["noise"]
            if point.plan.is_pruned and alone["pruned"]:
                rest = joint - scales["quantized"] * alone["quantized"]
                scales["pruned"] = max(rest, 0.1 * joint) / alone["pruned"]
            elif alone["quantized"]:
                scales["quantized"] = joint / alone["quantized"]
        return scales

    def _try_text(self, pipeline: str) -> None:
        self._add(self._measured(pipeline, "none"))

    def _try(self, plan: SitePlan, recovery: Recovery) -> None:
        assert self._costs is not None
        pipeline = plan.pipeline(self._costs.sites, recovery)
        costs = ChoiceCosts(self._costs, self._scales())
        told = costs.problem.costs(costs.choice(plan))
        foretold = {
            "seconds": told["seconds"] * self._slowness(),
            "noise": told["error"],
            "bytes": told["bytes"],
        }
        point = self._measured(pipeline, recovery)
        self._add(replace(point, plan=plan, foretold=foretold, recovery=recovery))

    def _measured(self, pipeline: str, recovery: Recovery) -> Point:
        request, given = self._request, self._given
        before = self._journal.spent
        (built,) = self._journal.run(
            [
                build_task(
                    given.model,
                    pipeline,
                    given.learn,
                    labels=request.metric.labels,
                    target=request.runtime.target,
                    seed=request.seed,
                    what="build",
                )
            ]
        )
        model = built.require().files[MODEL]
        judged, timed = self._journal.run(
            [
                judge_task(
                    given.model,
                    model,
                    given.judge,
                    request.metric,
                    request.budget.max_drop,
                    "judge",
                ),
                measure_task(
                    [given.model, model],
                    given.learn,
                    request.metric.labels,
                    request.runtime,
                    seconds=_MEASURED,
                    seed=request.seed,
                    what="measure",
                ),
            ]
        )
        accuracy, times = judged.require().value, timed.require().value
        self._slowest[recovery] = self._journal.spent - before
        return Point(
            pipeline=pipeline,
            model=model,
            seconds=times["seconds"][1],
            speedup=times["ratios"][1],
            bytes=built.value["bytes"],
            drop=accuracy["drop"],
            holds=accuracy["holds"],
            accuracy=accuracy,
            spent=self._journal.spent,
            remarks=built.value["remarks"],
        )

    def _add(self, point: Point) -> None:
        self._points.append(point)
        best = self._best_point()
        if best is not self._best:
            self._best = best
            with replacing(self._out) as file, best.model.open("rb") as made:
                shutil.copyfileobj(made, file)
        self._kept(self._found())

    def _best_point(self) -> Point:
        return best_of(self._points, self._request.budget)

    def _found(self) -> Found:
        front = tuple(front_of(self._points))
        points = tuple(self._points)
        return Found(points, front, self._best_point(), self._costs, self._baseline())

    def _baseline(self) -> float:
        """Return the seconds of the model that was given, as measured beside the points."""
        return float(np.median([p.seconds * p.speedup for p in self._points]))

    def _has_time(self, recovery: Recovery) -> bool:
        """Say whether one more point fits into the time, as far as the last of its kind tells."""
        least = self._slowest.get(recovery, self._slowest.get("none", 0.0))
        return self._journal.spent + least < self._request.seconds
