"""The task that says how well a candidate does what the model does that was given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ...ir.files.load import load
from ...ir.metrics.choose import MetricOptions
from ...ir.metrics.user import is_users
from ...passes.engine.context import Report, report_nothing
from ...passes.quantize.quantize.mixed_precision.bounds import Accuracy, AccuracyBounds
from ...passes.quantize.quantize.mixed_precision.evaluator import ChoiceEvaluator
from ..tasks.journal import TaskJournal
from ..tasks.task import Task, TaskCall
from .stored_feeds import StoredFeeds

_USERS = "metric.py"


class NamedGraphs:
    """Candidates for `reference` by name, made when they are asked for: a choice is one name."""

    def __init__(self, reference: gs.Graph, made: Mapping[str, Callable[[], gs.Graph]]) -> None:
        self.graph = self.reference = reference
        self._made = made

    def build(
        self,
        chosen: Collection[str],
        *,
        corrected: bool = False,
        report: Report = report_nothing,
    ) -> gs.Graph:
        """Return the one candidate that `chosen` names."""
        (name,) = chosen
        return self._made[name]()

    def build_alone(self, node: str) -> gs.Graph:
        """Return the candidate called `node`."""
        return self._made[node]()


def told_accuracy(found: Accuracy) -> dict[str, Any]:
    """Return what JSON can hold of `found`."""
    return {
        "noise": found.noise,
        "sqnr_db": found.sqnr_db,
        "samples": found.samples,
        "drop": max((result.drop for result in found.metrics), default=0.0),
        "metrics": [
            {**asdict(result), "drop": result.drop, "shown": str(result)}
            for result in (*found.metrics, *found.top1)
        ],
    }


def judge(job: TaskCall) -> dict[str, Any]:
    """Compare the outputs on all feeds, by the metric of the task; say whether bounds hold."""
    metric = job.options["metric"]
    if _USERS in job.files:
        metric = f"{job.files[_USERS]}:{metric.rpartition(':')[2]}"
    options = MetricOptions(metric, job.options["class_axis"], tuple(job.options["labels"]))
    graphs = NamedGraphs(
        load(job.files["reference"]), {"candidate": lambda: load(job.files["candidate"])}
    )
    evaluator = ChoiceEvaluator(graphs, StoredFeeds(job.files["feeds"]), options)
    found = evaluator.measure({"candidate"})
    most = job.options["max_drop"]
    bounds = AccuracyBounds(max_drop=most)
    return {
        **told_accuracy(found),
        "holds": bounds.hold(found) if bounds else True,
        "judged": [str(chosen) for chosen in evaluator.chosen],
    }


def require_metric(journal: TaskJournal, model: Path, feeds: Path, options: MetricOptions) -> None:
    """Judge `model` as a candidate for itself, where a function of the user's judges.

    Raises TaskError where that fails: it is told before anything is built for it.
    """
    if is_users(options.metric):
        (judged,) = journal.run([judge_task(model, model, feeds, options, None, "try the metric")])
        judged.require()


def judge_task(
    reference: Path,
    candidate: Path,
    feeds: Path,
    options: MetricOptions,
    max_drop: float | None,
    what: str = "",
) -> Task:
    """Return the task that compares `candidate` with `reference`.

    The file of a user's metric goes along: another content is another task.
    """
    users = {_USERS: Path(options.metric.rpartition(":")[0])} if is_users(options.metric) else {}
    return Task(
        function=f"{__name__}:{judge.__name__}",
        options={**asdict(options), "labels": list(options.labels), "max_drop": max_drop},
        files={"reference": reference, "candidate": candidate, "feeds": feeds, **users},
        what=what,
    )
