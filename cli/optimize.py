"""`planish optimize`: passes over a model, verified and written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import onnx_graphsurgeon as gs
import typer

from ..backends.contract.registry import require_target
from ..ir.core.errors import PlanishError
from ..ir.core.share import share
from ..ir.graph.inline import inline_fused
from ..ir.graph.uses import scopes
from ..ir.metrics.choose import AUTO, AUTOMATIC, MetricOptions
from ..passes.engine.context import Feeds
from ..passes.engine.records import Result
from ..passes.pipeline.pipeline import Pipeline
from .certificates import write_certificate
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import ModelJob, jobs_of, size_on_disk, tell_left_out, write
from .given import Drawn, given_for, warn_unread
from .judged import takes_metric
from .options import (
    InputShapeOption,
    JsonOption,
    ModelFiles,
    MutableOption,
    OutOption,
    PipelineOption,
    SeedOption,
    StrictOption,
)
from .reporting import ReportOption, how_made, measuring, require_report, write_told
from .show.console import err, tell, teller
from .show.graph_size import size_of
from .show.models_json import models_json
from .show.optimized import OptimizedModel, optimized_json, show_optimized
from .show.progress import pass_progress
from .strict import demand_proved, demand_verified


class Verify(StrEnum):
    """When outputs are compared with those of the original."""

    each = "each"
    end = "end"
    prove = "prove"
    off = "off"


@takes_feeds
@takes_metric
def optimize(
    models: ModelFiles,
    output: OutOption = None,
    pipeline: PipelineOption = "exact",
    given: FeedOptions = NO_FEEDS,
    target: Annotated[
        str, typer.Option(help="What passes that measure, or mind the CPU, work for.")
    ] = "cpu",
    max_drop: Annotated[
        str | None,
        typer.Option(help="The most that the metric of the outputs may lose, `1%` or 0.01."),
    ] = None,
    judged: MetricOptions = AUTOMATIC,
    verify: Annotated[
        Verify | None, typer.Option(help="Compare outputs; default: end.", show_default=False)
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove", help="Prove every edit, and write OUT.certificate.json; as --verify prove."
        ),
    ] = False,
    why: Annotated[bool, typer.Option("--why", help="Show what was left alone, and why.")] = False,
    portable: Annotated[
        bool, typer.Option(help="Inline fused operators, for runtimes without local functions.")
    ] = True,
    dump: Annotated[
        Path | None, typer.Option(help="A folder for the graph after each pass that changed it.")
    ] = None,
    reproducer: Annotated[
        Path | None, typer.Option(help="The folder for the reproducer of a failure.")
    ] = None,
    signed_zeros: Annotated[
        bool, typer.Option("--signed-zeros", help="Tell 0.0 and -0.0 apart, as 1 / x does.")
    ] = False,
    strict: StrictOption = False,
    report: ReportOption = None,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Run passes over models, verify the results and write them, where -o says to."""
    steps = Pipeline.parse(pipeline).with_options(
        max_drop=None if max_drop is None else share(max_drop, "--max-drop"),
        metric=None if judged.metric == AUTO else judged.metric,
        class_axis=judged.class_axis,
        labels=judged.labels or None,
    )
    require_target(target)
    how = _how(verify, prove=prove)
    jobs = jobs_of(models, output)
    require_report(report, len(jobs))
    shows = _is_main_process()
    with models_json(shown=as_json and shows) as found:
        for job in jobs:
            graph, data, drawn = given_for(
                steps,
                job.model,
                given,
                input_shape,
                mutable=mutable_initializers,
                seed=seed,
                tell=teller(as_json=as_json),
                lazily=True,  # a run holds what it reads of them
            )
            before = size_on_disk(job.model)  # whatever becomes of the file meanwhile
            with pass_progress(err) as progress:
                result = steps.run(
                    graph,
                    data,
                    how.value,
                    target=target,
                    seed=seed,
                    progress=progress if shows else None,
                    dump=dump if shows else None,
                    reproducer=reproducer,
                    signed_zeros=signed_zeros,
                    strict=strict or None,
                )
            if not shows:
                continue
            warn_unread(data, given)
            if strict and how is not Verify.off and steps.keeps_outputs:
                demand_verified(result)
            if strict:
                demand_proved(result)
            run = _written(job, graph, result, portable, drawn, before)
            tell_left_out(job, teller(as_json=as_json))
            told = optimized_json(run)
            found.append(told)
            if not as_json:
                show_optimized(run, why=why, drawn=data is None)
            if report is not None:
                _report(report, graph, run, told, data, judged.labels, target)


def _how(verify: Verify | None, *, prove: bool) -> Verify:
    """Return how to verify; raises PlanishError where --prove is given with what excludes it."""
    if not prove:
        return verify or Verify.end
    if verify in (Verify.each, Verify.off):
        raise PlanishError(
            f"--prove compares outputs at the end, and --verify {verify.value} says otherwise; "
            "leave one of them out"
        )
    return Verify.prove


def _written(
    job: ModelJob,
    graph: gs.Graph,
    result: Result,
    portable: bool,
    drawn: Drawn,
    bytes_before: int | None,
) -> OptimizedModel:
    """Write what became of `graph`, if `job` says where, and return what is to be said of it."""
    write(result.graph, job, portable=portable)
    certificate = write_certificate(result, job)
    made = inline_fused(result.graph) if portable else result.graph
    return OptimizedModel(
        model=job.model,
        output=job.written,
        certificate=certificate,
        result=result,
        drawn=drawn,
        before=size_of(graph),
        after=size_of(made),
        bytes_before=bytes_before,
        bytes_after=size_on_disk(job.written),
        nodes=sum(1 for scope in scopes(result.graph) for _ in scope.nodes),
    )


def _report(
    path: Path,
    graph: gs.Graph,
    run: OptimizedModel,
    told: dict[str, Any],
    data: Feeds | None,
    labels: Sequence[str],
    target: str,
) -> None:
    """Write the report of one model."""
    from ..tools.report.build import GivenModel, run_report  # few runs ask for one
    from ..tools.report.figures import Measuring

    before = GivenModel(graph=graph, file=str(run.model), bytes=run.bytes_before)
    written = run.model if run.output is None else run.output
    after = GivenModel(graph=run.result.graph, file=str(written), bytes=run.bytes_after)
    with measuring(Measuring(target=target)) as options:
        made = run_report(
            before, after, told, made=how_made(), feeds=data, labels=labels, measuring=options
        )
    write_told(made, path, tell)


def _is_main_process() -> bool:
    """Say whether this process shows and writes: of several under torchrun or accelerate, one."""
    return os.environ.get("RANK", "0") == "0"
