"""Every pipeline over every model, on every backend: a row each, whatever came of it.

What fails is a row too, with the reason. All of it is tasks of a journal, so that a sweep that was
ended goes on, and one with more models, pipelines or backends does what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...ir.files.data_file import bytes_on_disk
from ...ir.metrics.choose import MetricOptions
from ..tasks.journal import TaskJournal
from ..tasks.task import Outcome, Task
from ..trials.build import MODEL, build_task
from ..trials.clock import Runtime, measure_task
from ..trials.judge import judge_task, require_metric


@dataclass(frozen=True, kw_only=True)
class SweptModel:
    """A model: what people call it, its file, and one of feeds for it.

    `error`: why there is no such file or no such feeds, so that nothing of it is tried.
    """

    name: str
    model: Path
    feeds: Path
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What to sweep over, and how each is judged and measured; `seconds`: of one measurement."""

    models: Sequence[SweptModel]
    pipelines: Sequence[str]
    backends: Sequence[str]
    metric: MetricOptions
    target: str = "cpu"
    threads: int | None = None
    seed: int = 0
    seconds: float = 3.0


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """What came of one model, pipeline and backend; None where that is not known.

    `seconds` of a run beside `baseline_seconds` of the model as it was, on the same backend.
    `drop`: what the metric loses; `error`: why there is no more.
    """

    model: str
    pipeline: str
    backend: str
    seconds: float | None = None
    baseline_seconds: float | None = None
    speedup: float | None = None
    bytes: int | None = None
    baseline_bytes: int | None = None
    drop: float | None = None
    sqnr_db: float | None = None
    judged: str | None = None
    samples: int | None = None
    build_seconds: float | None = None
    error: str | None = None


def sweep(
    journal: TaskJournal,
    request: SweepRequest,
    kept: Callable[[Sequence[SweepRow]], None] = lambda rows: None,
) -> list[SweepRow]:
    """Return a row for each combination, model by model; `kept` gets those that are there.

    Raises TaskError where a metric of the user's fails on a model itself.
    """
    for swept in (each for each in request.models if not each.error):
        require_metric(journal, swept.model, swept.feeds, request.metric)
    rows: list[SweepRow] = []
    for swept in request.models:
        if swept.error:
            rows += [
                SweepRow(model=swept.name, pipeline=text, backend=backend, error=swept.error)
                for text in request.pipelines
                for backend in request.backends
            ]
            kept(rows)
            continue
        built = journal.run([_build(swept, text, request) for text in request.pipelines])
        made = [
            (text, outcome)
            for text, outcome in zip(request.pipelines, built, strict=True)
            if outcome.error is None
        ]
        judged = journal.run([_judge(swept, outcome, request) for _, outcome in made])
        known = {text: (o, j) for (text, o), j in zip(made, judged, strict=True)}
        for text, outcome in zip(request.pipelines, built, strict=True):
            tasks = [] if outcome.error else _measures(swept, outcome, request)
            timed = journal.run(tasks) if tasks else []
            for place, backend in enumerate(request.backends):
                row: dict[str, Any] = {"model": swept.name, "pipeline": text, "backend": backend}
                if outcome.error is not None:
                    rows.append(SweepRow(**row, error=outcome.error))
                    continue
                rows.append(_row(row, swept, *known[text], timed[place]))
            kept(rows)
    return rows


def _row(
    named: dict[str, Any], swept: SweptModel, built: Outcome, judged: Outcome, timed: Outcome
) -> SweepRow:
    found: dict[str, Any] = {
        "bytes": built.value["bytes"],
        "baseline_bytes": bytes_on_disk(swept.model),
        "build_seconds": built.seconds,
    }
    if judged.error is None:
        accuracy = judged.value
        found |= {
            "drop": accuracy["drop"],
            "sqnr_db": accuracy["sqnr_db"],
            "samples": accuracy["samples"],
            "judged": "; ".join(accuracy["judged"]),
        }
    if timed.error is None:
        baseline, seconds = timed.value["seconds"]
        found |= {
            "baseline_seconds": baseline,
            "seconds": seconds,
            "speedup": timed.value["ratios"][1],
        }
    return SweepRow(**named, **found, error=judged.error or timed.error)


def columns() -> list[str]:
    """Return the names of the columns of a table of rows."""
    return [field.name for field in fields(SweepRow)]


def _build(swept: SweptModel, pipeline: str, request: SweepRequest) -> Task:
    return build_task(
        swept.model,
        pipeline,
        swept.feeds,
        labels=request.metric.labels,
        target=request.target,
        seed=request.seed,
        what=f"build {swept.name}",
    )


def _judge(swept: SweptModel, built: Outcome, request: SweepRequest) -> Task:
    return judge_task(
        swept.model,
        built.files[MODEL],
        swept.feeds,
        request.metric,
        None,
        what=f"judge {swept.name}",
    )


def _measures(swept: SweptModel, built: Outcome, request: SweepRequest) -> list[Task]:
    models = (swept.model, built.files[MODEL])
    return [
        measure_task(
            [(model, Runtime(backend, request.target, request.threads)) for model in models],
            swept.feeds,
            request.metric.labels,
            seconds=request.seconds,
            seed=request.seed,
            what=f"measure {swept.name} on {backend}",
        )
        for backend in request.backends
    ]


def as_table(rows: Sequence[SweepRow]) -> dict[str, list[Any]]:
    """Return the rows as columns by name."""
    told = [asdict(row) for row in rows]
    return {name: [row[name] for row in told] for name in columns()}
