"""Points: a pipeline run stage by stage, judged on samples held back, and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ...ir.files.data_file import bytes_on_disk
from ...ir.files.load import load
from ..tasks.journal import TaskJournal
from ..tasks.task import Task
from ..trials.build import MODEL, build_task
from ..trials.clock import Runtime, measure_task
from ..trials.judge import judge_task
from .chains import layers_in
from .costs import SiteCosts
from .front import Point, Stage
from .plan import Recovery, SitePlan
from .request import Request
from .survey import Given

_MEASURED = 3.0  # seconds, of a point and the model that was given together
# A few dozen samples are enough for ranges and rounding; the time that they take goes with them.
CALIBRATION = 64


# A pipeline, or what gives it for the model that the stages before made.
StageText = str | Callable[[Path], str]


class PointBuilder:
    """Makes points of pipelines, through `journal`; `failed`: stages that did not run, and why.

    `baseline`: what the model that was given runs on; by default what the points do.
    """

    def __init__(
        self, journal: TaskJournal, given: Given, request: Request, baseline: Runtime | None = None
    ) -> None:
        self._baseline = request.runtime if baseline is None else baseline
        self._journal = journal
        self._given = given
        self._request = request
        self.failed: list[tuple[str, str]] = []

    def build(self, stages: Sequence[StageText]) -> Point | None:
        """Return the point that the stages make; None where one of them fails."""
        found = self.made(stages)
        if found is None:
            return None
        model, made, remarks = found
        judged, timed = self._journal.run([self._judge(model), self._measure(model)])
        accuracy, times = judged.require().value, timed.require().value
        with model.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Point(
            stages=made,
            model=model,
            sha256=digest,
            seconds=times["seconds"][1],
            speedup=times["ratios"][1],
            bytes=bytes_on_disk(model),
            drop=accuracy["drop"],
            holds=accuracy["holds"],
            accuracy=accuracy,
            spent=self._journal.spent,
            remarks=remarks,
        )

    def made(
        self, stages: Sequence[StageText]
    ) -> tuple[Path, tuple[Stage, ...], list[Sequence[str]]] | None:
        """Return the model that the stages make, what each was given, and what passes remarked.

        The last looks at `CALIBRATION` samples, those before at all. None where one fails.
        """
        model = self._given.model
        made: list[Stage] = []
        remarks: list[Sequence[str]] = []
        for place, given in enumerate(stages):
            pipeline = given if isinstance(given, str) else given(model)
            most = CALIBRATION if place == len(stages) - 1 else None
            made.append(Stage(pipeline, most))
            (built,) = self._journal.run([stage_task(model, made[-1], self._given, self._request)])
            if built.error is not None:
                self.failed.append((pipeline, built.error))
                return None
            model = built.files[MODEL]
            remarks += built.value["remarks"]
        return model, tuple(made), remarks

    def _judge(self, model: Path) -> Task:
        assert self._given.judge is not None
        return judge_task(
            self._given.model,
            model,
            self._given.judge,
            self._request.metric,
            self._request.budget.max_drop,
            what="judge",
        )

    def _measure(self, model: Path) -> Task:
        return measure_task(
            [(self._given.model, self._baseline), (model, self._request.runtime)],
            self._given.learn,
            self._request.metric.labels,
            seconds=_MEASURED,
            seed=self._request.seed,
            what="measure",
        )


def stages_of(plan: SitePlan, costs: SiteCosts, recovery: Recovery) -> tuple[StageText, ...]:
    """Return the stages that make a plan: one where no layer takes another shape, else two."""
    first = plan.shape_text(costs.sites, recovery)
    if not first:
        return (plan.numbers_text(costs.sites),)

    def last(model: Path) -> str:
        return plan.numbers_text(
            costs.sites, layers_in(load(model), costs.sites.layers, costs.tensors)
        )

    return first, last


def stage_task(model: Path, stage: Stage, given: Given, request: Request) -> Task:
    """Return the task that runs one stage of a point over `model`."""
    what = "recover" if "recover" in stage.pipeline else "build"
    return build_task(
        model,
        stage.pipeline,
        given.learn,
        labels=request.metric.labels,
        most_feeds=stage.samples,
        target=request.runtime.target,
        seed=request.seed,
        what=what,
    )
