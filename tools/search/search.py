"""The search: what every choice costs, which choices fit the budget, and what they really are.

    survey -> solve -> build, recover, quantize -> measure, judge -> correct the costs -> solve ...

What is built is measured in a process of its own, and the best so far lies on disk at all times.
Every step is a task of the journal, so that a search that was ended goes on where it was.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...backends.contract.registry import USUAL
from ...ir.core.atomic import replacing
from ...ir.core.errors import RefusedError
from ..tasks.journal import TaskJournal
from ..trials.clock import Runtime, choose_task
from ..trials.judge import require_metric
from .builder import PointBuilder, stages_of
from .costs import ChoiceCosts, SiteCosts
from .foresight import Foresight
from .front import Point, best_of, front_of, misses
from .plan import Recovery, SitePlan
from .request import Request
from .survey import Given, Survey

# The points that every search begins with.
_FIRST = ("exact", "int8{measure=false,guard=off}")
# What is foretold is met by that much, so that what is measured falls on the right side.
_SPARE = 1.02
# Where nothing is fast enough, what takes that much of the least time is as fast.
_AS_FAST = 1.05
# By that much a target is moved where the same choice comes out again.
_STEP = 1.03
_SAME = 5
_CORRECTIONS = 3
_RECOVERIES: tuple[Recovery, ...] = ("blocks", "both", "longer")
# Points that are built for the front beside those that the budget takes.
_FRONT = 6
# A gap of the front below this factor in time is left.
_GAP = 1.2


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search has found: all points, those that no other beats, and the one to take.

    `runtime`: what all times are of. `failed`: what could not be built, and why. `left_out`: steps
    of the survey that there was no time for.
    """

    points: tuple[Point, ...]
    front: tuple[Point, ...]
    best: Point
    costs: SiteCosts | None
    baseline: float
    foresight: Foresight
    runtime: Runtime
    failed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


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
        self._budget = request.budget
        self._out = out
        self._kept = kept
        self._builder = PointBuilder(journal, given, request)
        self._points: list[Point] = []
        self._tried: set[tuple[SitePlan, Recovery]] = set()
        self._costs: SiteCosts | None = None
        self._left_out: tuple[str, ...] = ()
        self._best: Point | None = None
        self._longest: dict[Recovery, float] = {}

    def run(self) -> Found:
        """Search until the budget is met and the front is known, or time is up."""
        assert self._given.judge is not None
        require_metric(self._journal, self._given.model, self._given.judge, self._request.metric)
        self._settle_runtime()
        for pipeline in _FIRST:
            self._add(self._builder.build((pipeline,)))
        if not self._points:
            raise self._nothing()
        if self._has_time("none"):
            survey = Survey(self._journal, self._given, self._request)
            self._costs = survey.costs()
            self._left_out = tuple(survey.left_out)
            self._builder.failed += survey.failed
        if self._costs is not None:
            self._meet()
            self._fill()
        return self._found()

    def _nothing(self) -> RefusedError:
        """Return the error of a model of which not even the first points can be made."""
        why = "; ".join(f"'{what}': {error}" for what, error in self._builder.failed)
        return RefusedError(f"nothing can be searched, for no pipeline runs: {why}")

    def _settle_runtime(self) -> None:
        """Take the backend that runs the first points fastest, where it is left open which."""
        request = self._request
        if not request.runtime.is_open:
            return
        models = [self._builder.made((pipeline,)) for pipeline in _FIRST]
        tasks = [
            choose_task(
                model,
                self._given.learn,
                request.metric.labels,
                request.runtime,
                seed=request.seed,
                what="which runtime",
            )
            for model, _, _ in filter(None, models)
        ]
        found = [outcome.require().value for outcome in self._journal.run(tasks)]
        if not found:
            raise self._nothing()
        backend = min(found, key=lambda each: float(each["seconds"]))["backend"]
        self._request = replace(request, runtime=replace(request.runtime, backend=backend))
        # What the choice of the runtime gains is gained on the usual one.
        usual = replace(request.runtime, backend=USUAL)
        self._builder = PointBuilder(self._journal, self._given, self._request, usual)

    def _meet(self) -> None:
        """Build what the costs say fits the budget, and correct them by what that is."""
        goal = self._budget.speedup
        if goal is None:
            self._meet_accuracy()
            return
        point = self._reach(goal)
        # The honest front: between what is accurate enough and what is fast enough, or as fast as
        # it gets.
        while misses(self._best_point(), self._budget):
            holding = [p for p in self._points if p.holds]
            fastest = max((p.speedup for p in holding), default=1.0)
            if point is not None and not point.holds:
                goal = min(goal, point.speedup)
            if point is None or goal / fastest < _GAP or not self._has_time("none"):
                return
            point = self._reach((fastest * goal) ** 0.5)

    def _reach(self, speedup: float, *, learn: bool = False) -> Point | None:
        """Build the most accurate of what is `speedup` times as fast; None where nothing new is.

        Time does not depend on what weights have learned, so that is seen before: where it falls
        short, what is foretold is corrected. Then it learns, if it lost too much or `learn` is set,
        unless nothing comes near that speed.
        """
        found, asked = None, speedup
        for _ in range(_CORRECTIONS):
            plan = self._solved(asked)
            for _ in range(_SAME):
                if plan is None or (plan, "none") not in self._tried:
                    break
                asked *= _STEP
                plan = self._solved(asked)
            point = None if plan is None else self._try(plan, "none")
            found = found if point is None else point
            if point is None or point.speedup >= speedup:
                break
        if found is None or found.plan is None or found.speedup * _GAP < speedup:
            return found  # so far from fast enough, what weights can learn does not help
        return self._recovered(found, found.plan, learn=learn)

    def _recovered(self, point: Point, plan: SitePlan, *, learn: bool) -> Point:
        """Return the point recovered as far as it takes to lose no more than allowed."""
        if not plan.learns:
            return point
        for recovery in _RECOVERIES:
            if point.holds and not (learn and recovery == "blocks"):
                return point
            better = self._try(plan, recovery)
            point = point if better is None else better
        return point

    def _meet_accuracy(self) -> None:
        """Build the fastest of what loses no more than allowed, as noise lets expect.

        Where nothing bounds that, what loses least within the size.
        """
        spare = 1.0
        for _ in range(_FRONT):
            point = self._fastest(spare)
            if point is None or point.plan is None:
                return
            point = self._recovered(point, point.plan, learn=self._budget.max_drop is None)
            if self._budget.max_drop is None:
                return
            # The metric loses by the size of errors; noise is their square.
            spare *= 1.5 if point.holds else 0.5

    def _fastest(self, spare: float) -> Point | None:
        assert self._costs is not None
        costs = ChoiceCosts(self._costs, self._foresight().scales)
        noise = self._foresight().noise_of(self._budget.max_drop)
        bounds = {} if noise is None else {"error": noise * spare}
        if self._budget.size is not None:
            bounds["bytes"] = float(self._budget.size)
        least = "error" if noise is None else "seconds"
        choice = costs.problem.solve(bounds, least=least)
        if choice is None and "bytes" in bounds:
            choice = costs.problem.solve({}, least="bytes")
        if choice is None:
            return None
        return self._try(costs.plan(choice), "none")

    def _fill(self) -> None:
        """Build points in the widest gaps of the front, while there is time."""
        for _ in range(_FRONT):
            front = sorted(front_of(self._points), key=lambda p: p.seconds)
            gaps = [
                (slow.seconds / fast.seconds, (slow.speedup * fast.speedup) ** 0.5)
                for fast, slow in itertools.pairwise(front)
            ]
            widest = max(gaps, default=(0.0, 0.0))
            if widest[0] < _GAP**2 or self._reach(widest[1], learn=True) is None:
                return

    def _solved(self, speedup: float) -> SitePlan | None:
        """Return the most accurate plan that is so many times as fast, as far as is foretold."""
        assert self._costs is not None
        foresight = self._foresight()
        costs = ChoiceCosts(self._costs, foresight.scales)
        bounds = {"seconds": self._baseline() / (speedup * _SPARE) / foresight.slowness}
        if self._budget.size is not None:
            bounds["bytes"] = float(self._budget.size)
        choice = costs.problem.solve(bounds)
        if choice is None:
            del bounds["seconds"]
            choice = costs.problem.solve(bounds, least="seconds")
            if choice is not None:  # what gains next to nothing is not worth what it loses
                bounds["seconds"] = costs.problem.costs(choice)["seconds"] * _AS_FAST
                choice = costs.problem.solve(bounds) or choice
        return None if choice is None else costs.plan(choice)

    def _try(self, plan: SitePlan, recovery: Recovery) -> Point | None:
        """Build and measure a plan; None where that was done, time is up, or it cannot be built."""
        assert self._costs is not None
        if (plan, recovery) in self._tried or not self._has_time(recovery):
            return None
        self._tried.add((plan, recovery))
        costs = ChoiceCosts(self._costs, self._foresight().scales)
        told = costs.problem.costs(costs.choice(plan))
        foretold = {
            "seconds": told["seconds"] * self._foresight().slowness,
            "noise": told["error"],
            "bytes": told["bytes"],
        }
        before = self._journal.spent
        stages = stages_of(plan, self._costs, recovery)
        point = self._builder.build(stages)
        self._longest[recovery] = max(
            self._longest.get(recovery, 0.0), self._journal.spent - before
        )
        if point is not None:
            point = replace(
                point,
                plan=plan,
                foretold=foretold,
                recovery=recovery,
                alone=ChoiceCosts(self._costs).noise(plan),
                raw_seconds=told["seconds"],
            )
        self._add(point)
        return point

    def _add(self, point: Point | None) -> None:
        if point is None:
            return
        self._points.append(point)
        best = self._best_point()
        if best is not self._best:
            self._best = best
            with replacing(self._out) as file, best.model.open("rb") as made:
                shutil.copyfileobj(made, file)
        self._kept(self._found())

    def _best_point(self) -> Point:
        return best_of(self._points, self._budget)

    def _foresight(self) -> Foresight:
        return Foresight.of(self._points)

    def _found(self) -> Found:
        return Found(
            points=tuple(self._points),
            front=tuple(front_of(self._points)),
            best=self._best_point(),
            costs=self._costs,
            baseline=self._baseline(),
            foresight=self._foresight(),
            runtime=self._request.runtime,
            failed=tuple(self._builder.failed),
            left_out=self._left_out,
        )

    def _baseline(self) -> float:
        """Return the seconds of the model that was given, as measured beside the points."""
        return float(np.median([p.seconds * p.speedup for p in self._points]))

    def _has_time(self, recovery: Recovery) -> bool:
        """Say whether one more point fits into the time, as far as others of its kind tell."""
        known = self._longest.get(recovery)
        if known is None and recovery == "longer":
            # Ten times the epochs of what learned end to end, beyond what learned in blocks.
            both, blocks = (self._longest.get(kind, 0.0) for kind in ("both", "blocks"))
            known = both + 9 * max(0.0, both - blocks)
        if known is None:
            known = max(self._longest.values(), default=0.0)
        return self._journal.spent + known < self._request.seconds
