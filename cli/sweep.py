"""`planish sweep`: models x pipelines x backends, each built, judged and measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..backends.contract.registry import require_target
from ..ir.core.atomic import require_writable
from ..ir.core.errors import FeedError, GraphError, LoadError, RefusedError
from ..ir.core.quantities import read_seconds
from ..ir.files.save import save
from ..ir.metrics.choose import AUTOMATIC, MetricOptions
from ..ir.run.feeds import random_feeds
from ..passes.pipeline.pipeline import Pipeline
from ..tools.sweep.parquet import require_own, write_rows
from ..tools.sweep.sweep import SweepRequest, SweptModel, as_table
from ..tools.sweep.sweep import sweep as sweep_over
from ..tools.tasks.journal import TaskJournal
from ..tools.trials.stored_feeds import store_feeds
from .completion import complete_backend, complete_pipeline
from .executor import JobsOption, RayOption, executor_of, versions
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import model_file
from .given import given_model
from .judged import takes_metric
from .options import (
    InputModels,
    InputShapeOption,
    JsonOption,
    MutableOption,
    SeedOption,
    ThreadsOption,
)
from .show.console import err, out, print_json, print_plain, teller
from .show.progress import progress_bar
from .show.sweep import sweep_table
from .show.tasks import TaskProgress

_FOLDER = ".sweep"
_DRAWN = 8
_OF_A_MODEL = LoadError, GraphError, FeedError, RefusedError  # it cannot be read, sized, or fed


@takes_feeds
@takes_metric
def sweep(
    models: InputModels,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="A Parquet file, a row each.", show_default=False),
    ],
    pipeline: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--pipeline",
            help="Passes and presets; repeat for several. Default: exact.",
            autocompletion=complete_pipeline,
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "-b", "--backend", help="Repeat for several.", autocompletion=complete_backend
        ),
    ] = None,
    given: FeedOptions = NO_FEEDS,
    target: Annotated[str, typer.Option(help="cpu, cpu{threads=2}, ...")] = "cpu",
    threads: ThreadsOption = None,
    judged: MetricOptions = AUTOMATIC,
    seconds: Annotated[str, typer.Option(help="How long one measurement takes.")] = "3s",
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    jobs: JobsOption = None,
    ray: RayOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Run every pipeline over every model, and measure what comes out on every backend.

    What fails is a row with the reason. A sweep that was ended goes on from where it was.
    """
    say = teller(as_json=as_json)
    require_target(target)
    texts = pipeline or ["exact"]
    for text in texts:
        Pipeline.parse(text)
    if len({path.name for path in models}) < len(models):
        raise RefusedError("two models have the same file name, which rows are told apart by")
    require_own(output)
    require_writable(output)
    folder = output.with_suffix(_FOLDER)
    swept, faults = [], []
    for path in models:
        own = folder / path.stem
        each = SweptModel(name=path.name, model=own / "given.onnx", feeds=own / "feeds.zip")
        try:
            graph = given_model(
                path, input_shape, mutable=mutable_initializers, feeds=given.feeds, tell=say
            )
            own.mkdir(parents=True, exist_ok=True)
            save(graph, each.model)
            data = given.data(graph, seed, judged.labels, say, model_file(path))
            drawn = random_feeds(graph, samples=_DRAWN, seed=seed) if data is None else data
            store_feeds(drawn, each.feeds)
        except _OF_A_MODEL as error:
            faults.append(error)
            told = str(error)
            each = replace(each, error=told if str(path) in told else f"{path}: {told}")
        swept.append(each)
    if len(faults) == len(swept):
        raise type(faults[0])(swept[0].error)
    request = SweepRequest(
        models=swept,
        pipelines=texts,
        backends=backend or ["onnxruntime"],
        metric=judged,
        target=target,
        threads=threads,
        seed=seed,
        seconds=read_seconds(seconds, "--seconds"),
    )
    with progress_bar(err, "") as update:
        count = sum(not each.error for each in swept) * len(texts) * (2 + len(request.backends))
        journal = TaskJournal(
            folder, executor_of(ray, jobs), versions(), TaskProgress(update, count)
        )
        rows = sweep_over(journal, request, lambda found: write_rows(found, output))
    write_rows(rows, output)
    if as_json:
        print_json({"output": str(output), "rows": as_table(rows)})
        return
    out.print(sweep_table(rows))
    print_plain(f"{len(rows)} rows -> {output}")
