"""`planish optimize`: passes over a model, verified and written."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..backends.contract.registry import require_target
from ..ir.core.atomic import require_writable
from ..ir.core.errors import VerificationError
from ..ir.core.scaled import scaled
from ..ir.files.data_file import bytes_on_disk
from ..ir.files.save import save
from ..ir.metrics.choose import AUTO
from ..passes.engine.records import Result
from ..passes.pipeline.pipeline import Pipeline
from .feeds import feeds_of
from .given import given_model
from .options import (
    ClassAxisOption,
    FeedsOption,
    InputShapeOption,
    LabelsOption,
    MeanOption,
    MetricOption,
    ModelFile,
    MutableOption,
    OutOption,
    PipelineOption,
    SeedOption,
    ShapeOption,
    StdOption,
    share,
)
from .show.console import err, out, print_plain
from .show.failures import failure_lines
from .show.progress import pass_progress
from .show.records import (
    declined_table,
    records_table,
    remark_lines,
    verification_line,
    warn_of_noise,
)
from .show.written import written_line


class Verify(StrEnum):
    """When outputs are compared with those of the original."""

    each = "each"
    end = "end"
    off = "off"


def optimize(
    model: ModelFile,
    output: OutOption = None,
    pipeline: PipelineOption = "exact",
    feeds: FeedsOption = None,
    target: Annotated[
        str, typer.Option(help="What passes that measure, or mind the CPU, work for.")
    ] = "cpu",
    max_drop: Annotated[
        str | None,
        typer.Option(help="The most that the metric of the outputs may lose, `1%` or 0.01."),
    ] = None,
    metric: MetricOption = AUTO,
    class_axis: ClassAxisOption = None,
    labels: LabelsOption = None,
    verify: Annotated[Verify, typer.Option(help="Compare outputs.")] = Verify.end,
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
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail where a pass fails, which is rolled back else, or nothing is verified.",
        ),
    ] = False,
    shape: ShapeOption = None,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    mean: MeanOption = "0",
    std: StdOption = "1",
    seed: SeedOption = 0,
) -> None:
    """Run passes over a model, verify the result and write it, where -o says to."""
    steps = Pipeline.parse(pipeline).with_options(
        max_drop=None if max_drop is None else share(max_drop, "--max-drop"),
        metric=None if metric == AUTO else metric,
        class_axis=class_axis,
        labels=tuple(labels) if labels else None,
    )
    if output is not None:
        require_writable(output)
    require_target(target)
    graph = given_model(model, input_shape, mutable=mutable_initializers, feeds=feeds)
    data = feeds_of(graph, feeds, shape, mean, std, seed, steps.extra_feeds())
    shows = _is_main_process()
    with pass_progress(err) as progress:
        result = steps.run(
            graph,
            data,
            verify.value,
            target=target,
            seed=seed,
            progress=progress if shows else None,
            dump=dump if shows else None,
            reproducer=reproducer,
            signed_zeros=signed_zeros,
            strict=strict or None,
        )
    if not shows:
        return
    if strict and verify is not Verify.off and steps.keeps_outputs:
        _demand_verified(result)
    before = bytes_on_disk(model)  # the output may be the same file
    if output is not None:
        save(result.graph, output, portable=portable)
    out.print(records_table(result.records))
    for line in (*remark_lines(result.records), *result.remarks):
        print_plain(line)
    declined = declined_table(result.records) if why else None
    if declined is not None:
        out.print()
        out.print(declined)
    out.print()
    size = None if output is None else bytes_on_disk(output) / max(before, 1)
    print_plain(verification_line(result, size=size))
    warn_of_noise(result, drawn=data is None)
    print_plain(f"{model}: {scaled(before, 'B')} -> {written_line(output)}")
    for line in failure_lines(result.failures):
        print_plain(line)


def _demand_verified(result: Result) -> None:
    """Refuse to write what was edited and could not be verified."""
    if result.edits and not result.verified:
        raise VerificationError(
            f"the result is not verified: {result.note or 'its outputs were not compared'}; "
            "nothing was written. Give --feeds that tell, or leave --strict out"
        )


def _is_main_process() -> bool:
    """Say whether this process shows and writes: of several under torchrun or accelerate, one."""
    return os.environ.get("RANK", "0") == "0"
