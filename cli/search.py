"""`planish search`: one budget, and the network that keeps it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..backends.contract.registry import require_target
from ..ir.core.atomic import require_writable
from ..ir.core.errors import RefusedError, VerificationError
from ..ir.core.extras import installed_version
from ..ir.core.quantities import is_bytes, read_bytes, read_factor, read_seconds
from ..ir.core.share import share
from ..ir.metrics.choose import AUTO, MetricOptions
from ..tools.search.clock import Runtime
from ..tools.search.document import document, write_document
from ..tools.search.front import misses
from ..tools.search.request import Budget, Request
from ..tools.search.search import BudgetSearch, Found
from ..tools.search.start import begin
from ..tools.tasks.journal import TaskJournal
from ..tools.tasks.processes import LocalProcesses
from .completion import complete_backend
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import model_file
from .given import given_model
from .options import (
    ClassAxisOption,
    InputShapeOption,
    JsonOption,
    LabelsOption,
    MetricOption,
    ModelFile,
    MutableOption,
    SeedOption,
    ThreadsOption,
)
from .show.console import err, print_json, print_plain, teller, warn
from .show.console import out as screen
from .show.progress import progress_bar
from .show.search import SearchProgress, best_lines, front_table, nearest_lines

_PACKAGES = ("numpy", "onnx", "onnxruntime", "scipy", "torch")
_FOLDER, _FRONT = ".search", "front.json"


@takes_feeds
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
    metric: MetricOption = AUTO,
    class_axis: ClassAxisOption = None,
    labels: LabelsOption = None,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Search for what makes a model as small and fast as asked, at the least loss.

    Where it was ended before, it goes on; everything lies in a folder beside the output.
    """
    say = teller(as_json=as_json)
    if max_size is None and given.size is not None and is_bytes(given.size):
        max_size, given = given.size, replace(given, size=None)
    request = Request(
        budget=Budget(
            max_drop=None if max_drop is None else share(max_drop, "--max-drop"),
            speedup=None if speedup is None else read_factor(speedup, "--speedup"),
            size=None if max_size is None else read_bytes(max_size, "--max-size"),
        ),
        seconds=read_seconds(time, "--time"),
        metric=MetricOptions(metric, class_axis, tuple(labels or ())),
        runtime=Runtime(backend, target, threads),
        seed=seed,
    )
    require_target(target)
    if str(output) == "-":
        raise RefusedError("a search keeps its best network in a file as it goes; name one with -o")
    require_writable(output)
    graph = given_model(
        model, input_shape, mutable=mutable_initializers, feeds=given.feeds, tell=say
    )
    data = given.data(graph, seed, labels or (), say, model_file(model)) if given.feeds else None
    folder = output.with_suffix(_FOLDER)
    parted = begin(graph, data, folder)
    if parted.apart:
        say(f"{parted.learn} samples to learn from, {parted.judge} others to judge by")
    else:
        warn(f"the {parted.learn} samples are learned from and judged by alike; give more")
    versions = {"planish": __version__} | {
        name: version for name in _PACKAGES if (version := installed_version(name)) is not None
    }
    told = {
        "model": str(model),
        "output": str(output),
        "command": shlex.join(["planish", *sys.argv[1:]]),
        "versions": versions,
        "samples": {"learn": parted.learn, "judge": parted.judge, "apart": parted.apart},
    }

    def keep(found: Found) -> None:
        write_document(folder / _FRONT, document(found, request, told))

    with progress_bar(err, "") as update:
        progress = SearchProgress(update, request.seconds)
        journal = TaskJournal(folder, LocalProcesses(), versions, progress)
        if journal.resumes:
            say(f"'{folder}' has {journal.resumes} steps of an earlier search: going on from there")
        try:
            found = BudgetSearch(journal, parted.given, request, output, keep).run()
        except KeyboardInterrupt:
            if output.exists() and progress.points:
                warn(f"the best so far is '{output}'; the same command goes on from here")
            raise
    if as_json:
        print_json(document(found, request, told))
    else:
        screen.print(front_table(found))
        for line in best_lines(found, request, output, folder / _FRONT):
            print_plain(line)
    out_of = misses(found.best, request.budget)
    if out_of:
        raise VerificationError("\n".join(nearest_lines(found, request.budget, output)))
