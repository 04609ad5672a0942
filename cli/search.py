"""`planish search`: one budget, and the network that keeps it."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import onnx_graphsurgeon as gs
import typer

from ..backends.contract.registry import require_target
from ..ir.core.atomic import require_writable
from ..ir.core.errors import RefusedError, VerificationError
from ..ir.core.quantities import is_bytes, read_bytes, read_factor, read_seconds
from ..ir.core.share import share
from ..ir.files.data_file import require_spared
from ..ir.files.save import save
from ..ir.metrics.choose import AUTOMATIC, MetricOptions
from ..passes.engine.context import Feeds
from ..tools.report.build import GivenModel, search_report
from ..tools.report.figures import Measuring
from ..tools.search.document import document, write_document
from ..tools.search.front import misses
from ..tools.search.replay import digests_of, read_document
from ..tools.search.replay import replay as replay_point
from ..tools.search.request import Budget, Request
from ..tools.search.search import BudgetSearch, Found
from ..tools.search.start import begin
from ..tools.search.survey import Given
from ..tools.tasks.journal import TaskJournal
from ..tools.tasks.task import Executor
from ..tools.trials.clock import Runtime
from .completion import complete_backend
from .executor import JobsOption, RayOption, executor_of, versions
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import model_file, size_on_disk
from .given import given_model
from .judged import takes_metric
from .options import (
    InputShapeOption,
    JsonOption,
    ModelFile,
    MutableOption,
    SeedOption,
    ThreadsOption,
    refuse_unread,
)
from .reporting import ReportOption, how_made, measuring, require_report, write_told
from .show.console import err, out, print_json, print_plain, tell, teller, warn
from .show.progress import progress_bar
from .show.search import SearchProgress, best_lines, front_table, nearest_lines

_FOLDER, _FRONT = ".search", "front.json"


@takes_feeds
@takes_metric
def search(
    model: ModelFile,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Where the best network goes.", show_default=False),
    ],
    given: FeedOptions = NO_FEEDS,
    max_drop: Annotated[
        str | None, typer.Option(help="The most that the metric may lose, `1%` or 0.01.")
    ] = None,
    speedup: Annotated[
        str | None, typer.Option(help="How many times as fast as the model, `3x`.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="The most that the file may have, `4MB`; also --size 4MB.")
    ] = None,
    time: Annotated[str, typer.Option(help="How long to search, `20min`, `1h`.")] = "20min",
    backend: Annotated[
        str, typer.Option(help="What runs the networks.", autocompletion=complete_backend)
    ] = "onnxruntime",
    target: Annotated[str, typer.Option(help="cpu, cpu{threads=2}, ...")] = "cpu",
    threads: ThreadsOption = None,
    judged: MetricOptions = AUTOMATIC,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    jobs: JobsOption = None,
    ray: RayOption = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="The front.json of an earlier search: make its network again."),
    ] = None,
    point: Annotated[
        int | None, typer.Option(min=0, help="With --replay: which point; default: the best.")
    ] = None,
    seed: SeedOption = 0,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for what makes a model as small and fast as asked, at the least loss.

    Where it was ended before, it goes on; everything lies in a folder beside the output.
    """
    say = teller(as_json=as_json)
    if str(output) == "-":
        raise RefusedError("a search keeps its best network in a file as it goes; name one with -o")
    if max_size is None and given.size is not None and is_bytes(given.size):
        max_size, given = given.size, replace(given, size=None)
    graph_of = partial(
        given_model, model, input_shape, mutable=mutable_initializers, feeds=given.feeds, tell=say
    )
    if replay is not None:
        refuse_unread(
            "--replay makes what was found", max_drop=max_drop, speedup=speedup, report=report
        )
        require_writable(output)
        require_spared(output, model_file(model))
        _replay(replay, point, graph_of(), given, output, executor_of(ray, jobs), say)
        return
    refuse_unread("it says which point --replay makes", point=point)
    request = Request(
        budget=Budget(
            max_drop=None if max_drop is None else share(max_drop, "--max-drop"),
            speedup=None if speedup is None else read_factor(speedup, "--speedup"),
            size=None if max_size is None else read_bytes(max_size, "--max-size"),
        ),
        seconds=read_seconds(time, "--time"),
        metric=judged,
        runtime=Runtime(backend, target, threads),
        seed=seed,
    )
    require_target(target)
    require_writable(output)
    require_spared(output, model_file(model))
    require_report(report, 1)
    graph = graph_of()
    data = given.data(graph, seed, judged.labels, say, model_file(model)) if given.feeds else None
    folder = output.with_suffix(_FOLDER)
    parted = begin(graph, data, folder)
    if parted.apart:
        say(f"{parted.learn} samples to learn from, {parted.judge} others to judge by")
    else:
        warn(f"the {parted.learn} samples are learned from and judged by alike; give more")
    told = {
        "model": str(model),
        "output": str(output),
        "command": shlex.join(["planish", *sys.argv[1:]]),
        "versions": versions(),
        "labels": list(judged.labels),
        "digests": digests_of(parted.given),
        "samples": {"learn": parted.learn, "judge": parted.judge, "apart": parted.apart},
    }

    def keep(found: Found) -> None:
        write_document(folder / _FRONT, document(found, request, told))

    with progress_bar(err, "") as update:
        progress = SearchProgress(update, request.seconds)
        journal = TaskJournal(folder, executor_of(ray, jobs), versions(), progress)
        progress.spent = journal.before
        if journal.resumes:
            say(f"'{folder}' has {journal.resumes} steps of an earlier search: going on from there")
        try:
            found = BudgetSearch(journal, parted.given, request, output, keep).run()
        except KeyboardInterrupt:
            best = f"the best so far is '{output}'" if output.exists() else "no network is kept yet"
            warn(f"{best}; '{folder}' has what was done: the same command goes on from here")
            raise
    if as_json:
        print_json(document(found, request, told))
    else:
        out.print(front_table(found))
        for line in best_lines(found, output, folder / _FRONT):
            print_plain(line)
    if report is not None:
        _report(report, graph, model, output, document(found, request, told), data, request)
    if misses(found.best, request.budget):
        raise VerificationError("\n".join(nearest_lines(found, request.budget, output)))


def _replay(
    front: Path,
    point: int | None,
    graph: gs.Graph,
    given: FeedOptions,
    output: Path,
    executor: Executor,
    say: Callable[[str], None],
) -> None:
    """Make a point of an earlier search again; its samples lie beside `front`, or are given."""
    told = read_document(front)
    with tempfile.TemporaryDirectory(prefix="planish-") as name:
        folder = Path(name)
        if given.feeds is not None:
            data = given.data(graph, told["seed"], told["labels"], say)
            start = begin(graph, data, folder).given
        else:
            start = Given(model=folder / "given.onnx", learn=front.parent / "learn.zip")
            save(graph, start.model)
            if not start.learn.exists():
                raise RefusedError(
                    f"the samples of the search do not lie beside '{front}'; give them with --feeds"
                )
        known = replay_point(told, point, start, executor, output)
    say(f"{output}: point {known['point']} of {front}, the same bytes ({known['bytes']})")


def _report(
    path: Path,
    graph: gs.Graph,
    model: Path,
    output: Path,
    found: dict[str, Any],
    data: Feeds | None,
    request: Request,
) -> None:
    """Write the report of a search: both networks, and the front."""
    one, two = (
        GivenModel(graph=each, file=str(file), bytes=size_on_disk(model_file(file)))
        for each, file in ((graph, model), (given_model(output), output))
    )
    runtime = Runtime(**found["runtime"])
    timed = Measuring(backends=(runtime.backend,), target=runtime.target, threads=runtime.threads)
    with measuring(timed) as options:
        made = search_report(
            one,
            two,
            found,
            made=how_made(),
            feeds=data,
            labels=request.metric.labels,
            measuring=options,
        )
    write_told(made, path, tell)
