"""`planish compile`: a model optimized, lowered and saved as its backend loads it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..backends.contract.registry import lower
from ..ir.files.load import load
from ..ir.files.save import bytes_on_disk
from ..passes.pipeline.pipeline import Pipeline
from .completion import complete_backend
from .options import (
    ModelFile,
    OutOption,
    PipelineOption,
    SeedOption,
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
from .show.numbers import scaled
from .show.progress import pass_progress, progress_bar
from .show.records import verification_line


def compile(
    model: ModelFile,
    output: OutOption,
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
    seed: SeedOption = 0,
) -> None:
    """Optimize a model, lower it for a target and save what the backend loads."""
    steps = Pipeline.parse(pipeline)
    graph = load(model)
    with pass_progress(err) as progress:
        result = steps.run(graph, target=target, seed=seed, progress=progress)
    with progress_bar(err, "lowering") as update:
        options = tuning_options(tune_trials, tune_cache, tune_remote, seed, update)
        options |= given_options(winograd=winograd)
        lower(result.graph, backend, target, threads, **options).save(output)
    print_plain(verification_line(result))
    size = scaled(bytes_on_disk(output), "B")
    print_plain(f"{output}: {size}")
    for line in failure_lines(result.failures):
        print_plain(line)
