"""`planish compile`: a model optimized, lowered and saved as its backend loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import onnx_graphsurgeon as gs
import typer

from ..backends.auto.chosen import Chosen
from ..backends.contract.backend import Compiled
from ..backends.contract.registry import lower, measures
from ..ir.files.data_file import bytes_on_disk
from ..ir.run.extra_feeds import FeedsWithout
from ..ir.run.replay import replayable
from ..passes.engine.records import Result
from ..passes.pipeline.pipeline import Pipeline
from .completion import complete_backend
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import jobs_of
from .given import Drawn, given_for, warn_unread
from .options import (
    CheckKernelsOption,
    InputShapeOption,
    JsonOption,
    ModelFiles,
    MutableOption,
    OutOption,
    PipelineOption,
    SeedOption,
    StrictOption,
    ThreadsOption,
    TuneCacheOption,
    TuneRemoteOption,
    TuneTrialsOption,
    WinogradOption,
    given_options,
    tuning_options,
)
from .show.console import err, is_verbose, out, print_block, print_plain, teller
from .show.failures import failure_lines
from .show.graph_size import operators_table, size_of
from .show.models_json import models_json
from .show.progress import pass_progress, progress_bar
from .show.records import records_table, verification_line, warn_of_noise
from .show.run_json import run_json
from .show.written import written_line
from .strict import demand_told, demand_verified


@takes_feeds
def compile(
    models: ModelFiles,
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
    strict: StrictOption = False,
    reproducer: Annotated[
        Path | None, typer.Option(help="The folder for the reproducer of a failure.")
    ] = None,
    given: FeedOptions = NO_FEEDS,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Optimize models, lower them for a target, compare the two and save what the backend loads.

    What is saved may be native code: load such files only of people whose programs you would run.
    """
    steps = Pipeline.parse(pipeline)
    how: Literal["end", "off"] = "end" if verify else "off"
    extra = steps.extra_feeds()
    with models_json(shown=as_json) as found:
        for job in jobs_of(models, output, of_models=False):
            model, place = job.model, job.output
            graph, data, drawn = given_for(
                steps,
                model,
                given,
                input_shape,
                mutable=mutable_initializers,
                seed=seed,
                tell=teller(as_json=as_json),
            )
            with replayable(data) as kept:
                with pass_progress(err) as progress:
                    result = steps.run(
                        graph,
                        kept,
                        how,
                        target=target,
                        seed=seed,
                        progress=progress,
                        reproducer=reproducer,
                        strict=strict or None,
                    )
                if strict and verify and steps.keeps_outputs:
                    demand_verified(result)
                with progress_bar(err, "lowering") as update:
                    options = tuning_options(tune_trials, tune_cache, tune_remote, seed, update)
                    options |= given_options(winograd=winograd, check_kernels=check_kernels)
                    if measures(backend):
                        options["progress"] = update
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
                    if strict and verify:
                        demand_told(compiled)
                    if place is not None:
                        compiled.save(place)
            warn_unread(data, given)
            if as_json:
                found.append(_as_json(model, place, result, compiled, drawn))
            else:
                _show(place, result, compiled, drawn=data is None)
                if is_verbose():
                    _show_passes(graph, result)


def _show_passes(graph: gs.Graph, result: Result) -> None:
    """Print what each pass did, and how often each operator is there before and after."""
    out.print()
    out.print(records_table(result.records))
    out.print()
    out.print(operators_table(size_of(graph), size_of(result.graph)))


def _show(output: Path | None, result: Result, compiled: Compiled, *, drawn: bool) -> None:
    print_plain(f"passes: {verification_line(result)}")
    warn_of_noise(result, drawn=drawn)
    print_plain(f"lowered: {compiled.verdict or 'not verified (--no-verify)'}")
    for line in (*result.remarks, *compiled.remarks):
        print_plain(line)
    print_plain(written_line(output))
    if compiled.backend and (code := compiled.recipe()):
        print_block(code)
    for line in failure_lines(result.failures):
        print_plain(line)


def _as_json(
    model: Path, output: Path | None, result: Result, compiled: Compiled, drawn: Drawn
) -> dict[str, Any]:
    return {
        "model": str(model),
        "output": None if output is None else str(output),
        "bytes": None if output is None else bytes_on_disk(output),
        **run_json(result, drawn),
        "lowered": {"verdict": compiled.verdict, "remarks": list(compiled.remarks)},
        **({"choice": compiled.choice.as_json()} if isinstance(compiled, Chosen) else {}),
    }
