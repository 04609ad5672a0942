"""`planish compile`: a model optimized, lowered and saved as its backend loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..backends.contract.registry import lower
from ..ir.core.atomic import require_writable
from ..ir.run.extra_feeds import FeedsWithout
from ..ir.run.replay import replayable
from ..passes.pipeline.pipeline import Pipeline
from .completion import complete_backend
from .feeds import feeds_of
from .given import given_model
from .options import (
    CheckKernelsOption,
    FeedsOption,
    InputShapeOption,
    MeanOption,
    ModelFile,
    MutableOption,
    OutOption,
    PipelineOption,
    SeedOption,
    ShapeOption,
    StdOption,
    ThreadsOption,
    TuneCacheOption,
    TuneRemoteOption,
    TuneTrialsOption,
    WinogradOption,
    given_options,
    tuning_options,
)
from .show.console import err, print_plain
from .show.failures import failure_lines
from .show.progress import pass_progress, progress_bar
from .show.records import verification_line, warn_of_noise
from .show.written import written_line


def compile(
    model: ModelFile,
    output: OutOption = None,
    backend: Annotated[
        str, typer.Option(help="See `planish backends`.", autocompletion=complete_backend)
    ] = "onnxruntime",
    target: Annotated[str, typer.Option(help="cpu, cuda, cpu{threads=2}, ...")] = "cpu",
    pipeline: PipelineOption = "exact",
    threads: ThreadsOption = None,
    tune_trials: TuneTrialsOption = None,
    tune_cache: TuneCacheOption = None,
    tune_remote: TuneRemoteOption = None,
    winograd: WinogradOption = None,
    check_kernels: CheckKernelsOption = None,
    verify: Annotated[
        bool, typer.Option(help="Compare the passes' and the lowered network's outputs.")
    ] = True,
    reproducer: Annotated[
        Path | None, typer.Option(help="The folder for the reproducer of a failure.")
    ] = None,
    feeds: FeedsOption = None,
    shape: ShapeOption = None,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    mean: MeanOption = "0",
    std: StdOption = "1",
    seed: SeedOption = 0,
) -> None:
    """Optimize a model, lower it for a target, compare the two and save what the backend loads.

    What is saved may be native code: load such files only of people whose programs you would run.
    """
    steps = Pipeline.parse(pipeline)
    if output is not None:
        require_writable(output)
    graph = given_model(model, input_shape, mutable=mutable_initializers, feeds=feeds)
    extra = steps.extra_feeds()
    data = feeds_of(graph, feeds, shape, mean, std, seed, extra)
    with replayable(data) as kept:
        with pass_progress(err) as progress:
            result = steps.run(
                graph, kept, "end" if verify else "off", target=target, seed=seed, progress=progress
            )
        with progress_bar(err, "lowering") as update:
            options = tuning_options(tune_trials, tune_cache, tune_remote, seed, update)
            options |= given_options(winograd=winograd, check_kernels=check_kernels)
            compiled = lower(
                result.graph,
                backend,
                target,
                threads,
                verify=verify,
                feeds=FeedsWithout(kept, extra) if kept is not None and extra else kept,
                seed=seed,
                reproducer=reproducer,
                **options,
            )
            if output is not None:
                compiled.save(output)
    print_plain(f"passes: {verification_line(result)}")
    warn_of_noise(result, drawn=data is None)
    print_plain(f"lowered: {compiled.verdict or 'not verified (--no-verify)'}")
    for line in (*result.remarks, *compiled.remarks):
        print_plain(line)
    print_plain(written_line(output))
    for line in failure_lines(result.failures):
        print_plain(line)
